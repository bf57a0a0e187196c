use crate::adapters::guard::{GuardedClient, SendError};
use crate::domain::address::{HostPattern, Purpose};
use crate::domain::asset::SourceUrl;
use crate::ports::source::{Opened, Resume, SourceBody, SourceError, Sources};
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Method, header::{HeaderMap, CONTENT_RANGE, ETAG, IF_RANGE, RANGE}};
pub struct HttpSources { guard: GuardedClient, hosts: Vec<HostPattern> }
impl HttpSources { pub fn new(guard: GuardedClient, hosts: Vec<HostPattern>) -> Self { Self { guard, hosts } } }
fn unavailable(code: &str) -> SourceError { SourceError::Unavailable { code: code.to_owned(), retry_after: None } }
struct Body(reqwest::Response);
#[async_trait]
impl SourceBody for Body {
    async fn chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.0.chunk().await.map_err(|e| SourceError::Broken(Box::new(e.without_url())))
    }
}
#[async_trait]
impl Sources for HttpSources {
    async fn open(&self, url: &SourceUrl, resume: Option<&Resume>) -> Result<Opened, SourceError> {
        let parsed = url.0.parse().map_err(|_| SourceError::Forbidden { code: "no_url" })?;
        let mut headers = HeaderMap::new();
        if let Some(r) = resume {
            headers.insert(RANGE, format!("bytes={}-", r.from).parse().map_err(|_| unavailable("range"))?);
            headers.insert(IF_RANGE, r.etag.parse().map_err(|_| unavailable("etag"))?);
        }
        let request = self.guard.request(Method::GET, parsed, Purpose::Source(&self.hosts)).map_err(|e| SourceError::Forbidden { code: e.code() })?;
        let answer = request.headers(headers).send().await.map_err(|e| match e {
            SendError::Refused(e) if e.is_retryable() => unavailable(e.code()),
            SendError::Refused(e) => SourceError::Forbidden { code: e.code() },
            SendError::Failed(_) => unavailable("connect"),
        })?;
        let status = answer.status().as_u16();
        let etag = answer.headers().get(ETAG).and_then(|v| v.to_str().ok()).filter(|t| t.starts_with('"')).map(str::to_owned);
        match status {
            200 => Ok(Opened { start: 0, total: answer.content_length(), etag, content_type: None, body: Box::new(Body(answer)) }),
            206 if resume.is_some() => {
                let r = resume.ok_or_else(|| unavailable("x"))?;
                let want = format!("bytes {}-{}/{}", r.from, r.total - 1, r.total);
                let got = answer.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok());
                if got != Some(&want) || etag.as_deref() != Some(&r.etag) { return Err(unavailable("range")); }
                Ok(Opened { start: r.from, total: Some(r.total), etag, content_type: None, body: Box::new(Body(answer)) })
            }
            403 | 404 | 410 => Err(SourceError::Dead { status }),
            429 | 408 | 500..=599 => Err(unavailable(&format!("http_{status}"))),
            _ => Err(SourceError::Odd { status }),
        }
    }
}
