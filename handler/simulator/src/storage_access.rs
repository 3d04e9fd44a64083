//! Who may do what with a blob or a container: by the roles of the caller, whatever blob it is that a call reads.

use crate::call::Call;
use crate::shared::Shared;
use crate::{access, accounts, ids, roles};

/// What tokens for storage are for.
pub(super) const AUDIENCE: &str = "https://storage.azure.com";

/// What the caller's roles hold. Of an account that is not known nothing is there that could be denied.
pub(super) fn may(shared: &Shared, account: &str, container: &str, blob: &str, call: &Call) -> bool {
    if !accounts::is_known(shared, account) {
        return true;
    }
    let scope = ids::container(shared, account, container);
    if call.method == "PUT" {
        return access::forbidden_data(shared, roles::WRITE_BLOBS, &scope).is_none();
    }
    if call.method == "DELETE" {
        return access::forbidden_data(shared, roles::DELETE_BLOBS, &scope).is_none();
    }
    if blob.is_empty() && call.query("comp").is_none() {
        return access::forbidden(shared, roles::READ_CONTAINER, &scope).is_none();
    }
    let action = if call.query("comp") == Some("tags") { roles::READ_INDEX_TAGS } else { roles::READ_BLOBS };
    access::forbidden_data(shared, action, &scope).is_none()
}
