//! Bytes as they are: for what a proper client would not send, or would not show.

use super::PATIENCE;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends `bytes` and reads until the server closes.
pub async fn exchange(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = open(to, bytes).await;
    rest(&mut stream).await
}

pub async fn open(to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// All that comes until the server closes.
pub async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = vec![];
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("the server should have closed").unwrap();
    String::from_utf8(answer).unwrap()
}

/// One answer, head and body, by its length.
pub async fn one(to: SocketAddr, bytes: &[u8]) -> String {
    next(&mut open(to, b"").await, bytes).await
}

/// The same on a connection that is open.
pub async fn next(stream: &mut TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    let head = head(stream).await;
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |n| n.parse().unwrap())];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut body))
        .await
        .unwrap()
        .unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

/// One answer's head, on a connection that stays open.
pub async fn head(stream: &mut TcpStream) -> String {
    let mut answer = vec![];
    let read = async {
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the server should have answered");
    String::from_utf8(answer).unwrap()
}
