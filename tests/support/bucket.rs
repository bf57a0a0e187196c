//! What lies in a bucket, seen through S3: a look that works with any store.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;

#[derive(Clone)]
pub struct Bucket {
    pub client: Client,
    pub name: String,
    pub endpoint: String,
}

impl Bucket {
    pub fn at(endpoint: &str, name: &str, access_key: &str, secret_key: &str) -> Self {
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(access_key, secret_key, None, None, "tests"))
            .force_path_style(true)
            .build();
        Self {
            client: Client::from_conf(config),
            name: name.to_owned(),
            endpoint: endpoint.to_owned(),
        }
    }

    pub async fn create(&self) {
        self.client
            .create_bucket()
            .bucket(&self.name)
            .send()
            .await
            .unwrap();
    }

    /// `None`: no such object.
    pub async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let found = self.client.get_object().bucket(&self.name).key(key).send().await;
        match found {
            Ok(object) => Some(object.body.collect().await.unwrap().to_vec()),
            Err(e) if e.raw_response().is_some_and(|r| r.status().as_u16() == 404) => None,
            Err(e) => panic!("{key}: {e:?}"),
        }
    }

    /// As somebody else's tool would: whatever lies there is replaced.
    pub async fn put(&self, key: &str, bytes: &[u8]) {
        let request = self.client.put_object().bucket(&self.name).key(key);
        request
            .body(ByteStream::from(bytes.to_vec()))
            .send()
            .await
            .unwrap();
    }

    /// The same by a tool that has the store keep a SHA-256.
    pub async fn put_with_sha256(&self, key: &str, bytes: &[u8]) {
        let request = self.client.put_object().bucket(&self.name).key(key);
        request
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .body(ByteStream::from(bytes.to_vec()))
            .send()
            .await
            .unwrap();
    }

    pub async fn keys(&self) -> Vec<String> {
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.name)
            .into_paginator()
            .send();
        let mut keys = vec![];
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            keys.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
        }
        keys.sort();
        keys
    }

    /// Multipart uploads of results that nobody finished or gave up. The service's own look at the store may be at work.
    pub async fn uploads(&self) -> usize {
        let listed = self
            .client
            .list_multipart_uploads()
            .bucket(&self.name)
            .send()
            .await;
        let listed = listed.unwrap();
        let is_own = |key: &str| key.split('/').any(|part| part.starts_with('.'));
        let of_results = listed.uploads().iter().filter(|u| !u.key().is_some_and(is_own));
        of_results.count()
    }
}
