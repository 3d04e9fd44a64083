//! Names of the functions: folders in `function-definitions/`, routes, `_HANDLER`. The doctor looks for what they receive.

/// Takes uploads in, told by Event Grid.
pub const BLOB_CREATED: &str = "BlobCreated";
/// Takes uploads in where events come through a storage queue: the same function, another trigger. The message
/// is the event; how often a failed one comes again, and when it goes to the poison queue, `host.json` says.
pub const BLOB_CREATED_FROM_QUEUE: &str = "BlobCreatedFromQueue";
/// Sees every scoring to its end, told by a timer.
pub const RECONCILE: &str = "Reconcile";
/// Holds what is listed in the rules' places against the ledger, told by a timer.
pub const SWEEP: &str = "Sweep";
/// Starts scorings and says where they stand, asked by HTTP.
pub const SCORINGS: &str = "Scorings";
/// Lists scorings, cancels them and tries them again, asked by HTTP.
pub const OPERATIONS: &str = "Operations";
/// Shows the ledger to people, and takes their orders.
pub const PAGE: &str = "Page";
/// All of them; each has a folder in `function-definitions/`.
pub const NAMES: [&str; 7] = [BLOB_CREATED, BLOB_CREATED_FROM_QUEUE, OPERATIONS, PAGE, RECONCILE, SCORINGS, SWEEP];
