//! nginx as a process of its own: a source of files that is nobody's idea of how HTTP ought to be.

use crate::outside::pause;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub struct Nginx {
    dir: tempfile::TempDir,
    pub port: u16,
    child: Child,
}

/// One line of the access log.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    pub path: String,
    pub status: u16,
    /// `-` where the request had none.
    pub range: String,
    pub if_range: String,
    /// What the answer said, `-` where it said nothing.
    pub content_length: String,
    pub etag: String,
    /// Which request on its connection this was, from 1.
    pub nth: u32,
}

impl Nginx {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("files")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        fs::write(dir.path().join("nginx.conf"), configuration(port)).unwrap();
        let child = Command::new(program())
            .args(["-p", dir.path().to_str().unwrap(), "-c", "nginx.conf"])
            .args(["-e", "error.log"])
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("stderr.log")).unwrap())
            .spawn()
            .expect("nginx is missing: tools/setup tests installs it");
        let mut nginx = Self { dir, port, child };
        nginx.wait_ready().await;
        nginx
    }

    async fn wait_ready(&mut self) {
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port))
                .await
                .is_ok()
            {
                return;
            }
            if self.child.try_wait().unwrap().is_some() {
                break;
            }
            pause().await;
        }
        let told = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        panic!("nginx did not start\n{}{}", told("stderr.log"), told("error.log"));
    }

    /// Puts a file in place, whole from the first look.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        put(&self.file(name), bytes);
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("files").join(name)
    }

    /// How a file is served is the first part of its path: see `configuration`.
    pub fn url(&self, way: &str, name: &str) -> String {
        format!("http://127.0.0.1:{}/{way}/{name}", self.port)
    }

    pub fn served(&self) -> Vec<Served> {
        let log = fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
        let line = |line: &str| {
            let part: Vec<&str> = line.split('|').collect();
            Served {
                path: part[0].to_owned(),
                status: part[1].parse().unwrap(),
                range: part[2].to_owned(),
                if_range: part[3].replace("\\x22", "\""),
                content_length: part[4].to_owned(),
                etag: part[5].replace("\\x22", "\""),
                nth: part[6].parse().unwrap(),
            }
        };
        log.lines().map(line).collect()
    }

    pub fn served_at(&self, path: &str) -> Vec<Served> {
        let all = self.served().into_iter();
        all.filter(|served| served.path == path).collect()
    }
}

/// Debian puts it where only the administrator's search path leads.
fn program() -> &'static str {
    let of_debian = "/usr/sbin/nginx";
    if std::path::Path::new(of_debian).exists() {
        of_debian
    } else {
        "nginx"
    }
}

pub fn put(path: &std::path::Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, path).unwrap();
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker ends with it: `master_process off` leaves one process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `sub_filter` makes nginx pass bodies through a filter, which is how it comes not to know their length.
fn configuration(port: u16) -> String {
    format!(
        r#"
daemon off;
master_process off;
pid nginx.pid;
events {{ worker_connections 256; }}
http {{
    types {{ video/mp4 mp4; video/quicktime mov; video/webm webm; image/jpeg jpg; image/png png; audio/mpeg mp3; }}
    default_type application/octet-stream;
    log_format lines '$uri|$status|$http_range|$http_if_range|$sent_http_content_length|$sent_http_etag|$connection_requests';
    access_log access.log lines;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
    keepalive_timeout 60;
    sendfile on;
    server {{
        listen 127.0.0.1:{port};
        location ~ ^/plain/(.+)$ {{ alias files/$1; }}
        location ~ ^/one-request/(.+)$ {{ alias files/$1; keepalive_timeout 0; }}
        location ~ ^/no-range/(.+)$ {{ alias files/$1; max_ranges 0; }}
        location ~ ^/no-tag/(.+)$ {{ alias files/$1; etag off; add_header Last-Modified ""; }}
        location ~ ^/weak-tag/(.+)$ {{ alias files/$1; etag off; add_header ETag 'W/"same"'; }}
        location ~ ^/chunked/(.+)$ {{ alias files/$1; sub_filter_types *; sub_filter 'never to be found' ''; }}
        location ~ ^/until-close/(.+)$ {{
            alias files/$1; sub_filter_types *; sub_filter 'never to be found' ''; chunked_transfer_encoding off;
        }}
        location ~ ^/compressed/(.+)$ {{ alias files/$1; add_header Content-Encoding gzip; }}
        location ~ ^/moved/(.+)$ {{ return 302 http://127.0.0.1:{port}/plain/$1; }}
    }}
}}
"#
    )
}
