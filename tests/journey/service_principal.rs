//! The app as a service principal: from the settings to `scored`, with no identity endpoint anywhere.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_is_a_service_principal_scores_and_shows_who_it_is() {
    let cloud = Cloud::start().await;
    let mut vars = cloud.vars("ledger");
    vars.retain(|name, _| !name.starts_with("IDENTITY_"));
    let client = "11111111-2222-3333-4444-555555555555";
    for (name, value) in [
        ("SCOREKEEPER_RULES", rules(&cloud)),
        ("AZURE_TENANT_ID", "contoso.example".to_owned()),
        ("AZURE_CLIENT_ID", client.to_owned()),
        ("AZURE_CLIENT_SECRET", "PLANTED~secret".to_owned()),
        ("AZURE_AUTHORITY_HOST", cloud.simulator.origin()),
    ] {
        vars.insert(name.to_owned(), value);
    }
    cloud.upload("a.csv", "x,y\n1,2\n");
    let host = FunctionsHost::start(cloud.root(), &vars).await;
    host.invoke("BlobCreated", "1", "event", &event("a.csv")).await.value();
    let ledger = ledger(&vars, cloud.root());
    tick_until_final(&host, &ledger).await;
    let all = scorings(&ledger).await;
    assert_eq!(all.iter().map(|s| s.status).collect::<Vec<_>>(), [Status::Scored], "{all:?}");
    let config = cloud.told(&vars, &["config"]).await.to_string();
    assert!(config.contains(&format!("service principal {client} of tenant contoso.example, by a secret")), "{config}");
    assert!(!config.contains("PLANTED"), "{config}");
}
