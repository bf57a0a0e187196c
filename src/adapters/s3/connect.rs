//! The client: credentials, address, and which of the SDK's habits are switched off.

use super::{Access, Checksum, S3Options};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls;
use secrecy::ExposeSecret;
use std::time::Duration;

/// TCP and TLS together. The store is not far, and the worker will try again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// AWS's own answer to "which region", and what stores without regions expect.
const DEFAULT_REGION: &str = "us-east-1";

pub async fn client(options: &S3Options) -> Client {
    let mut config = match &options.credentials {
        Access::DefaultChain => Builder::from(&environment(options).await),
        Access::Static {
            access_key,
            secret_key,
        } => Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client())
            .region(Region::new(
                options
                    .region
                    .clone()
                    .unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            ))
            .credentials_provider(Credentials::new(
                access_key,
                secret_key.expose_secret(),
                None,
                None,
                "static",
            )),
    };
    if let Some(endpoint) = &options.endpoint {
        config = config.endpoint_url(endpoint.as_str());
    }
    Client::from_conf(habits(config, options).build())
}

/// The same habits and credentials, over connections of its own.
pub fn apart(client: &Client) -> Client {
    let config = client.config().to_builder().http_client(http_client());
    Client::from_conf(config.build())
}

/// The same connections and credentials, with the habits that other settings ask for.
pub fn as_if(client: &Client, options: &S3Options) -> Client {
    Client::from_conf(habits(client.config().to_builder(), options).build())
}

/// What the machine says about credentials and region. With an endpoint of its own and no region named, nobody is
/// asked: the lookup ends at the instance metadata service, which takes seconds to not answer.
async fn environment(options: &S3Options) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
    let named = options.region.as_deref();
    let assumed = options.endpoint.is_some().then_some(DEFAULT_REGION);
    if let Some(region) = named.or(assumed) {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let found = loader.load().await;
    match found.region() {
        Some(_) => found,
        None => found.into_builder().region(Region::new(DEFAULT_REGION)).build(),
    }
}

fn habits(config: Builder, options: &S3Options) -> Builder {
    config
        .force_path_style(options.force_path_style)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        // It cannot tell a store that takes nothing from a copier that withholds the last chunk; our own watch can.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // `WhenRequired` would drop the checksum that a request names while still announcing it.
        .request_checksum_calculation(match options.checksum {
            Checksum::None => RequestChecksumCalculation::WhenRequired,
            Checksum::Sha256 | Checksum::Crc64Nvme => RequestChecksumCalculation::WhenSupported,
        })
        // What is read back is hashed whole and compared anyway.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .build_https()
}
