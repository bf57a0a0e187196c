//! A TCP address in front of a server, which can go down and come up again. While it is down, connecting is refused
//! and nobody else can have the port.

use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub struct Wire {
    address: SocketAddr,
    target: SocketAddr,
    running: Option<JoinHandle<()>>,
    /// Bound and never listening: keeps the port.
    _place: Socket,
}

impl Wire {
    /// Down until told otherwise.
    pub fn to(target: &str) -> Self {
        let place = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = place.local_addr().unwrap().as_socket().unwrap();
        let authority = target.split("://").last().unwrap().split('/').next().unwrap();
        Self {
            address,
            target: authority.parse().unwrap(),
            running: None,
            _place: place,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn up(&mut self) {
        let socket = bound(self.address);
        socket.listen(128).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        self.running = Some(tokio::spawn(carry(listener, self.target)));
    }

    /// Hangs up on everyone; returns when nobody listens any more.
    pub async fn down(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await; // aborted, as told
        }
    }
}

fn bound(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

async fn carry(listener: TcpListener, target: SocketAddr) {
    let mut carried = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        carried.spawn(async move {
            if let Ok(mut far) = TcpStream::connect(target).await {
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await; // either side may hang up
            }
        });
    }
}
