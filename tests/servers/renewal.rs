//! The connection of a renewal: the real step-ca takes our client certificate, in both versions of its path.

use std::time::Duration;

use trustup::host::env::Env;
use trustup::net::dns::ResolverSettings;
use trustup::net::{Credentials, HttpRequest, Identity, Net, Trust};
use trustup::pki::cert::pem;
use url::Url;

use crate::support::servers::{StepCa, StepCaOptions};
use crate::support::step_api::Caller;

#[test]
#[ignore = "needs step-ca"]
fn step_ca_renews_what_the_handshake_shows() {
    let ca = StepCa::start(StepCaOptions::default());
    let caller = Caller::new(ca.address(), ca.root_der(), StepCa::PROVISIONER, &ca.password());
    let (chain, key) = caller.pair("web.test");
    let ders = |chain: &str| -> Vec<Vec<u8>> {
        pem::blocks(chain.as_bytes()).into_iter().filter_map(|block| block.der).collect()
    };
    let old = ders(&chain);
    let identity = Identity::new(old.iter().map(|der| der.clone().into()).collect(), key.pkcs8());
    let roots = vec![ca.root_der().to_vec().into()];
    let trust = Credentials::from(&Trust::Roots { roots, vouched_by: "the test's root".to_owned() });
    let renewing = trust.clone().with_identity(identity.expect("identity"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let names = ResolverSettings::from_texts(None, None);
        let net = Net::new(&Env::os(), &names, Duration::from_secs(30)).expect("a network");
        let base = Url::parse(&ca.url()).expect("a URL");
        let post = async |credentials: Credentials, path: &str| {
            let client = net.client(&base, credentials).expect("client");
            let request = HttpRequest::post(base.join(path).expect("a URL"), Vec::new());
            client.send(request).await.expect("an answer")
        };
        for path in ["/renew", "/1.0/renew"] {
            let answer = post(renewing.clone(), path).await;
            let answer: serde_json::Value =
                serde_json::from_slice(&answer.success().expect(path)).expect("JSON");
            let new = ders(answer["crt"].as_str().expect("PEM"));
            assert_ne!(new[0], old[0], "{path}");
        }
        assert_eq!(post(trust, "/renew").await.status, 400, "nobody has nothing to renew");
    });
}
