//! An answer of a service, with the id that the service's support asks for.

use lifecycle::ServiceRequestId;

/// What an answer means, and the service's own id of it (`x-ms-request-id`), which goes into the scoring's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered<T> {
    /// What was concluded from the answer, or from there being none.
    pub value: T,
    /// `None` if nothing came back, or without an id.
    pub request_id: Option<ServiceRequestId>,
}

impl<T> Answered<T> {
    /// The same answer, read further.
    pub fn map<U>(self, read: impl FnOnce(T) -> U) -> Answered<U> {
        Answered { value: read(self.value), request_id: self.request_id }
    }
}

impl<T> From<T> for Answered<T> {
    fn from(value: T) -> Self {
        Self { value, request_id: None }
    }
}
