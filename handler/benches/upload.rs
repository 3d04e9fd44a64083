//! What the benches feed in: numbered uploads, each announced by an event of 1.0 kB, as Event Grid sends them.

/// One rule with the defaults, for uploads to the container `claims`.
pub(crate) fn rules(endpoint: &str, max_in_flight: Option<u32>) -> String {
    let limit = max_in_flight.map(|max| format!(r#","maxInFlight":{max}"#)).unwrap_or_default();
    format!(
        r#"{{"rules":[{{"id":"claims","match":{{"container":"claims"}},"endpoint":{{"uri":"{endpoint}"}}{limit},"verifyInput":false}}]}}"#
    )
}

/// The event about upload `n`: no two have the same blob.
pub(crate) fn event(n: u64) -> String {
    format!(
        r#"{{"topic":"/subscriptions/0a1b2c3d-1111-2222-3333-444455556666/resourceGroups/rg-claims-prod-weu/providers/Microsoft.Storage/storageAccounts/uploads","subject":"/blobServices/default/containers/claims/blobs/eu/2026/07/{n:012}.csv","eventType":"Microsoft.Storage.BlobCreated","id":"831e1650-001e-001b-66ab-{n:012x}","data":{{"api":"PutBlockList","clientRequestId":"6d79dbfb-0e37-4fc4-981f-442c9ca65760","requestId":"831e1650-001e-001b-66ab-eeb76e000000","eTag":"0x8DC{n:012X}","contentType":"text/csv","contentLength":524288,"blobType":"BlockBlob","accessTier":"Default","url":"https://uploads.blob.core.windows.net/claims/eu/2026/07/{n:012}.csv","sequencer":"000000000000000000000000000089630000000000{n:022x}","storageDiagnostics":{{"batchId":"b68529f3-68cd-4744-baa4-3c0498ec19f0"}}}},"dataVersion":"","metadataVersion":"1","eventTime":"2026-07-21T10:00:00.1234567Z"}}"#
    )
}

/// The event in the Functions host's envelope.
pub(crate) fn envelope(n: u64) -> String {
    let event = event(n);
    format!(
        r#"{{"Data":{{"event":{event}}},"Metadata":{{"sys":{{"MethodName":"BlobCreated","UtcNow":"2026-07-21T10:00:00.5Z","RandGuid":"3f0c9a1e-7b1d-4c55-9a0c-3a5f1f0f2b11"}}}}}}"#
    )
}
