//! Buckets of S3 and of what speaks like it.

mod refusal;
mod retention;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::client::HttpConnector;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig};
use raksha_core::{Error, Kind, Result};
use url::Url;

use crate::address::{Address, invalid};
use crate::credentials::Credentials;
use crate::layers::GuardOptions;
use crate::open::{OpenOptions, OpenedTarget, TargetCapabilities};
use crate::tls;
use retention::ObjectLock;

const OPEN: &str = "open S3 target";

/// What a single PUT of S3's takes.
const LARGEST_PUT: u64 = 5 << 30;

pub(crate) const OPTIONS: &[(&str, &str)] = &[
    ("endpoint", "URL of the service, where it is not AWS"),
    ("region", "us-east-1 if not given"),
    ("allow_http", "true allows an endpoint without TLS"),
    (
        "virtual_host",
        "true if the endpoint's host name contains the bucket",
    ),
    (
        "ca",
        "file of PEM certificates to trust besides the system's",
    ),
    (
        "bulk_delete",
        "false where the service cannot delete many at once",
    ),
];

/// Opens `s3://bucket/prefix`.
pub(crate) async fn open(
    mut address: Address,
    guard: GuardOptions,
    options: &OpenOptions,
) -> Result<OpenedTarget> {
    let (bucket, prefix) = address.host_and_prefix("bucket")?;
    let endpoint: Option<String> = address.take("endpoint")?;
    let region: Option<String> = address.take("region")?;
    let allow_http = address.take("allow_http")?.unwrap_or(false);
    let virtual_host = address.take("virtual_host")?.unwrap_or(false);
    let ca: Option<String> = address.take("ca")?;
    let bulk_delete = address.take("bulk_delete")?.unwrap_or(true);
    address.finish(OPTIONS)?;

    tls::choose_cryptography();
    // Deadlines are the guard's business; the client's own would cut large objects on slow lines.
    let mut client = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(10))
        .with_allow_http(allow_http);
    if let Some(ca) = ca {
        for certificate in certificates(&ca).await? {
            client = client.with_root_certificate(certificate);
        }
    }
    // Every attempt must be known to the guard: one that the client made in secret could create an object, and the next one
    // would take it for somebody else's.
    let no_attempts_of_its_own = RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    };
    let mut builder = match &options.credentials {
        Credentials::Environment => AmazonS3Builder::from_env(),
        Credentials::Keys {
            access_key,
            secret_key,
            session_token,
        } => {
            let builder = AmazonS3Builder::new()
                .with_access_key_id(access_key)
                .with_secret_access_key(secret_key.expose());
            match session_token {
                Some(token) => builder.with_token(token.expose()),
                None => builder,
            }
        }
        _ => return Err(invalid("S3 wants a key pair, not a user or tokens")),
    };
    builder = builder
        .with_bucket_name(&bucket)
        .with_virtual_hosted_style_request(virtual_host)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_disable_bulk_delete(!bulk_delete)
        .with_client_options(client.clone())
        .with_retry(no_attempts_of_its_own)
        .with_http_connector(refusal::Connector);
    if let Some(region) = &region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &endpoint {
        if endpoint.starts_with("http://") && !allow_http {
            let remedy = "this endpoint has no TLS: if that is meant, add allow_http=true";
            return Err(invalid(remedy).with("endpoint", endpoint));
        }
        builder = builder.with_endpoint(endpoint);
    }
    let unfit = |e: object_store::Error| {
        Error::new(Kind::Invalid, OPEN, "the settings do not fit together").caused_by(e)
    };
    let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    let at = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    let at = at.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    let s3 = builder.build().map_err(unfit)?;
    let lock = ObjectLock {
        client: refusal::Connector.connect(&client).map_err(unfit)?,
        credentials: Arc::clone(s3.credentials()),
        region,
        bucket: url_of(&at, &bucket, virtual_host)?,
        prefix: prefix.clone(),
    };
    let objects: Arc<dyn ObjectStore> = match prefix.as_ref().is_empty() {
        true => Arc::new(s3),
        false => Arc::new(PrefixStore::new(s3, prefix.clone())),
    };
    let mut description = format!("S3 bucket {bucket}");
    if !prefix.as_ref().is_empty() {
        description += &format!(", prefix {prefix}");
    }
    if let Some(endpoint) = &endpoint {
        description += &format!(", at {endpoint}");
    }
    let capabilities = TargetCapabilities {
        atomic_create: true,
        ordered_list: true,
        durable: true,
        largest_put: LARGEST_PUT,
        multipart: true,
    };
    let mut target = OpenedTarget::new(objects, capabilities, description, guard, &options.env);
    target.retention = Some(Arc::new(lock));
    // Whether the bucket is there and the credentials are right is better known now than in the middle of a backup.
    if let Some(Err(e)) = target.objects.list(None).next().await {
        if refusal::is_for_want_of_a_bucket(&e) {
            let remedy = "there is no such bucket: create it, or name another one";
            let error = Error::new(Kind::NotFound, OPEN, remedy).with("bucket", bucket);
            return Err(error.with("target", target.description).caused_by(e));
        }
        return Err(Error::object(OPEN, &Path::from(bucket), e).with("target", target.description));
    }
    Ok(target)
}

/// The URL of a bucket at `endpoint`.
fn url_of(endpoint: &str, bucket: &str, virtual_host: bool) -> Result<Url> {
    let unfit = || invalid("the endpoint is no URL").with("endpoint", endpoint);
    let mut url = Url::parse(endpoint).map_err(|_| unfit())?;
    if !virtual_host {
        let mut segments = url.path_segments_mut().map_err(|()| unfit())?;
        segments.pop_if_empty().push(bucket);
    }
    Ok(url)
}

async fn certificates(file: &str) -> Result<Vec<Certificate>> {
    let pem = tls::read(file).await?;
    Certificate::from_pem_bundle(&pem).map_err(|e| tls::unfit(file).caused_by(e))
}

#[cfg(test)]
mod tests {
    use raksha_core::cloud::SecretText;

    use super::*;

    /// Opens with made-up keys and no patience.
    async fn refusal(address: &str) -> Error {
        let keys = Credentials::Keys {
            access_key: "id".into(),
            secret_key: SecretText::new("geheim"),
            session_token: Some(SecretText::new("geheim")),
        };
        let options = OpenOptions::default()
            .credentials(keys)
            .guard(GuardOptions::default());
        let error = crate::open(address, &options).await.unwrap_err();
        assert!(
            !format!("{error} {options:?}").contains("geheim"),
            "{error}"
        );
        error
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_and_what_does_is_tried() {
        for (address, reason) in [
            ("s3://bucket?endpoint=http://127.0.0.1:1", "allow_http=true"),
            ("s3://?region=x", "bucket is missing"),
            ("s3://bucket:80/", "option"),
            ("s3://bucket?colour=red", "virtual_host"),
            ("s3://bucket?ca=/dev/null", "no PEM"),
        ] {
            let error = refusal(address).await;
            assert_eq!(error.kind(), Kind::Invalid, "{address}: {error}");
            assert!(error.to_string().contains(reason), "{address}: {error}");
        }
        // Nobody listens on port 1; with TLS or without, that is an answer and no panic.
        for address in [
            "s3://bucket/some/prefix?endpoint=https://127.0.0.1:1",
            "s3://bucket?endpoint=http://127.0.0.1:1&allow_http=true&virtual_host=true",
        ] {
            let error = refusal(address).await;
            assert_eq!(error.kind(), Kind::Unavailable, "{address}: {error}");
        }
    }
}
