//! The check of when certificates end.

use leveret_management::Limits;
use leveret_server::{Config, Tls};
use rcgen::{CertificateParams, KeyPair};
use time::{Duration, OffsetDateTime};

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_turns_the_check_red() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.not_after = OffsetDateTime::now_utc() + Duration::days(10);
    let key = KeyPair::generate().expect("a key");
    let (cert, own) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, params.self_signed(&key).expect("a certificate").pem()).expect("is written");
    std::fs::write(&own, key.serialize_pem()).expect("is written");
    let tls = Tls { cert, key: own, client_ca: None };
    let config = Config { amqps: "127.0.0.1:0".into(), tls: Some(tls), ..Config::default() };
    let stage = Stage::with(config, Limits::default()).await;

    let check = async |within: &str| {
        stage.ask("GET", &format!("/api/health/checks/certificate-expiration/{within}"), "").await
    };
    assert!(check("1/weeks").await.starts_with("HTTP/1.1 200"));
    for within in ["11/days", "2/Weeks", "1/months", "1/years", "99999999999999999/years"] {
        let answer = check(within).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{within}: {answer}");
        assert!(answer.contains("Certificates expiring") && answer.contains("amqp/ssl"), "{answer}");
    }
    for wrong in ["x/days", "-1/days", "1/fortnights"] {
        assert!(check(wrong).await.starts_with("HTTP/1.1 400"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_certificates_none_ends() {
    let stage = Stage::start(Limits::default()).await;
    let answer = stage.ask("GET", "/api/health/checks/certificate-expiration/100/years", "").await;
    assert!(answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
}
