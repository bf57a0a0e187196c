//! Presigned links: signed here, without a word to the store.

use super::S3Blobs;
use crate::ports::BoxError;
use crate::ports::links::{LinkTo, Links, MAX_LINK_LIFE};
use async_trait::async_trait;
use aws_sdk_s3::presigning::PresigningConfig;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;

/// What a plain `filename` may not hold: its own delimiters, and whatever is no ASCII.
const QUOTED: &AsciiSet = &CONTROLS.add(b'"').add(b'\\').add(b'%');

#[async_trait]
impl Links for S3Blobs {
    async fn link(&self, to: LinkTo<'_>) -> Result<Url, BoxError> {
        let config = PresigningConfig::expires_in(to.valid_for.min(MAX_LINK_LIFE))?;
        let disposition = to.save_as.map(attachment);
        let request = self
            .client
            .get_object()
            .bucket(to.bucket)
            .key(to.key)
            .set_response_content_disposition(disposition)
            .presigned(config)
            .await?;
        Ok(Url::parse(request.uri())?)
    }
}

fn attachment(name: &str) -> String {
    format!("attachment; filename=\"{}\"", utf8_percent_encode(name, QUOTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t8_a_name_stays_inside_its_quotes() {
        assert_eq!(attachment("a b.mp4"), "attachment; filename=\"a b.mp4\"");
        assert_eq!(
            attachment("\"; x=\r\nü"),
            "attachment; filename=\"%22; x=%0D%0A%C3%BC\""
        );
    }
}
