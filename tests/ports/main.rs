//! One conformance suite for each port, run over every implementation: what the use cases rely on holds for the Azure
//! adapters, for the stores, and for the fakes that tests and the simulation stand on.
//!
//! `table_store`, `endpoint`, `blobs`, `publishing` and `staging` are the ports' meaning, written once. What only one implementation promises stands
//! beside its run.

// Tests fail by panicking and say on stdout what a failure needs to be understood; the lints that keep both out
// of the product do not apply here. What tests share is used in part by each.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::too_many_lines
)]

mod blobs;
mod copies;
mod endpoint;
mod publishing;
mod stage;
mod stages;
mod staging;
#[path = "../support/mod.rs"]
mod support;
mod table_store;

macro_rules! hold {
    // Where the service shows no job's outputs.
    ($suite:ident, omitting outputs: $($claim:ident)*) => {
        mod omitting_outputs {
            mod azure_over_the_simulator {
                $(
                    #[tokio::test]
                    async fn $claim() {
                        crate::$suite::$claim(&crate::stages::Azure::omitting_outputs().await).await;
                    }
                )*
            }
            mod world_of_the_tests {
                $(
                    #[tokio::test]
                    async fn $claim() {
                        crate::$suite::$claim(&crate::stages::InTests::omitting_outputs()).await;
                    }
                )*
            }
            mod world_of_the_simulation {
                $(
                    #[tokio::test]
                    async fn $claim() {
                        crate::$suite::$claim(&crate::stages::InSimulation::omitting_outputs()).await;
                    }
                )*
            }
        }
    };
    ($suite:ident: $($claim:ident)*) => {
        mod $suite {
            mod azure_over_the_simulator {
                $(
                    #[tokio::test]
                    async fn $claim() {
                        crate::$suite::$claim(&crate::stages::Azure::start().await).await;
                    }
                )*
            }
            mod world_of_the_tests {
                $(
                    #[tokio::test]
                    async fn $claim() {
                        crate::$suite::$claim(&crate::stages::InTests::new()).await;
                    }
                )*
            }
            mod world_of_the_simulation {
                $(
                    #[tokio::test]
                    async fn $claim() {
                        crate::$suite::$claim(&crate::stages::InSimulation::new()).await;
                    }
                )*
            }
        }
    };
}

mod conforming {
    hold! { endpoint:
        a_submission_makes_one_job_and_names_it
        a_refused_submission_makes_no_job
        a_throttled_submission_makes_no_job_and_says_when_to_come_again
        a_lost_request_is_unknown_and_made_no_job
        a_lost_answer_is_unknown_and_each_job_that_was_made_is_found
        of_a_duplicated_submission_one_job_is_named_and_both_are_found
        a_search_finds_the_jobs_of_its_own_attempt_and_no_others
        a_search_is_not_held_against_a_later_time_than_it_saw
        a_job_that_was_never_made_is_none
        a_failed_job_has_its_error_text_and_a_completed_one_has_none
        jobs_since_a_time_are_those_that_were_made_since_and_are_not_known
        a_cancelled_job_ends_as_such_however_often_it_is_asked
        a_request_to_stop_leaves_a_job_that_has_ended_as_it_is
        what_cannot_be_looked_at_is_an_error_and_never_none
    }

    hold! { endpoint, omitting outputs:
        a_job_that_shows_too_little_may_be_ours_and_is_not_taken_for_it
        a_strangers_job_over_the_same_input_looks_just_like_ours
        a_job_over_another_input_is_not_ours_however_little_it_shows
        a_lost_request_is_unknown_and_made_no_job
        what_cannot_be_looked_at_is_an_error_and_never_none
    }

    hold! { blobs:
        a_print_is_the_same_until_something_at_the_outputs_changes
        what_a_job_has_written_is_there_with_its_size_and_date
        an_output_of_no_bytes_is_there_and_empty
        an_output_that_nobody_wrote_is_absent_and_named
        several_outputs_are_there_only_if_each_is_and_as_full_as_the_emptiest
        an_attempt_without_outputs_cannot_be_looked_at
        what_cannot_be_looked_at_is_an_error_and_never_absent
        an_input_is_seen_as_the_version_that_is_there
        an_input_that_is_not_there_is_gone
        an_input_that_cannot_be_looked_at_is_an_error_and_never_gone
        an_uploaded_blob_is_seen_in_its_version_with_its_size
        a_blob_that_is_not_there_is_none
        metadata_comes_with_a_look_and_index_tags_for_the_version_that_was_seen
        a_folder_is_listed_page_by_page_whole_and_without_its_neighbours
        what_is_listed_is_the_version_that_its_event_and_a_look_at_it_name
        an_upload_that_cannot_be_looked_at_is_an_error_and_never_none
    }

    hold! { publishing:
        a_copy_is_whole_marked_and_known_by_the_etag_of_its_answer
        nothing_is_copied_over_what_should_not_be_there
        of_two_copies_over_one_version_one_is_made
        another_version_of_the_source_is_not_copied
        a_write_without_an_answer_is_an_error_and_a_look_tells
        a_write_that_is_forbidden_is_refused_and_nothing_is_there
        a_document_is_written_on_the_same_conditions
        what_lies_in_a_folder_is_listed_page_by_page_and_can_be_copied
        a_published_place_that_cannot_be_looked_at_is_an_error_and_never_none
    }

    hold! { staging:
        an_upload_is_copied_by_its_url_and_a_copy_to_another_folder
        an_upload_that_changed_is_not_copied_by_its_url
        nothing_is_copied_over_a_copy_that_lies_there
        what_the_storage_does_not_copy_is_refused_and_others_are_copied
        a_copy_that_may_not_be_written_is_refused_and_one_without_an_answer_is_an_error
        a_copy_is_removed_in_the_version_that_was_seen_and_in_no_other
        a_removal_that_is_not_allowed_is_an_error
        of_the_output_of_a_group_it_is_told_which_copies_it_names
    }
}
