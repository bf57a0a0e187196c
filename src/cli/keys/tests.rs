use super::*;
use crate::domain::time::Timestamp;
use crate::ports::store::StoreError;
use async_trait::async_trait;
use std::sync::Mutex;

#[derive(Default)]
struct Keys(Mutex<Vec<(ApiKey, Digest)>>);

#[async_trait]
impl Accounts for Keys {
    async fn create_key(&self, key: NewApiKey) -> Result<(), StoreError> {
        let NewApiKey {
            id,
            tenant,
            name,
            sha256,
            created_at,
        } = key;
        let key = ApiKey {
            id,
            tenant,
            name,
            created_at,
            revoked_at: None,
        };
        self.0.lock().unwrap().push((key, sha256));
        Ok(())
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        Ok(self
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|(key, _)| key.clone())
            .collect())
    }

    async fn revoke_key(&self, id_or_name: &str, now: Timestamp) -> Result<bool, StoreError> {
        let mut keys = self.0.lock().unwrap();
        let found = keys.iter_mut().find(|(key, _)| key.id == id_or_name);
        Ok(found.is_some_and(|(key, _)| key.revoked_at.replace(now).is_none()))
    }

    async fn key_by_hash(&self, sha256: &Digest) -> Result<Option<ApiKey>, StoreError> {
        let keys = self.0.lock().unwrap();
        Ok(keys
            .iter()
            .find(|(_, hash)| hash == sha256)
            .map(|(key, _)| key.clone()))
    }
}

fn named(name: &str) -> Create {
    Create {
        name: name.to_owned(),
        tenant: "media".to_owned(),
        settings: ConfigFlags::default(),
    }
}

async fn made(keys: &Keys, host: &Host, name: &str) -> Value {
    let text = create(keys, host, &named(name), Format::Json).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_key_is_printed_once_and_kept_as_its_hash() {
    let (keys, host) = (Keys::default(), Host::real());
    let printed = made(&keys, &host, "laptop").await;
    let key = printed["key"].as_str().unwrap();
    assert_eq!(printed.as_object().unwrap().len(), 3);
    assert_eq!(key.len(), 3 + 43);
    let found = keys
        .key_by_hash(&Digest::of(key.as_bytes()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.id.as_str(), found.name.as_str(), found.tenant.0.as_str()),
        (printed["id"].as_str().unwrap(), "laptop", "media")
    );
    let listed = list(&keys, Format::Json).await.unwrap();
    assert!(listed.contains("laptop") && !listed.contains(key), "{listed}");
}

#[tokio::test]
async fn no_two_keys_are_alike_and_stdout_holds_the_key_alone() {
    let (keys, host) = (Keys::default(), Host::real());
    let one = create(&keys, &host, &named("a"), Format::Lines).await.unwrap();
    let two = create(&keys, &host, &named("a"), Format::Quiet).await.unwrap();
    assert!(
        one.starts_with("ck_") && one.lines().count() == 1 && one != two,
        "{one}"
    );
}

#[tokio::test]
async fn a_name_that_two_keys_share_revokes_neither() {
    let (keys, host) = (Keys::default(), Host::real());
    let first = made(&keys, &host, "same").await;
    made(&keys, &host, "same").await;
    let fault = revoke(&keys, &host, "same", Format::Quiet).await.unwrap_err();
    assert_eq!(fault.exit, Exit::Conflict);
    let id = first["id"].as_str().unwrap();
    assert!(revoke(&keys, &host, id, Format::Quiet).await.is_ok());
    assert!(revoke(&keys, &host, "same", Format::Quiet).await.is_ok());
    let fault = revoke(&keys, &host, "same", Format::Quiet).await.unwrap_err();
    assert_eq!(fault.exit, Exit::NotFound);
}
