//! The copy that is made where a rule groups.

use app::ports::{Blobs as _, PartPage};
use lifecycle::publication::RefusalKind;
use lifecycle::{BlobPlace, UnversionedBlob};
use stores::fault::Fault;

use super::installation::{CONTRIBUTOR, role};
use super::*;

/// A rule that groups the uploads of `uploads/claims`, in which these lie.
fn grouping(uploads: &[(&str, u64)]) -> Case {
    let mut case = Case::new();
    case.rule["group"] = json!({ "by": "folder" });
    for (path, bytes) in uploads {
        case.storage.uploaded(|uploaded| uploaded.put(&upload(path), *bytes));
    }
    case
}

fn upload(path: &str) -> UnversionedBlob {
    UnversionedBlob::read("https://uploads.blob.core.windows.net/claims/x").unwrap().beside(path).unwrap()
}

fn findings(report: &Report) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.check == Check::Staging).collect()
}

/// The one finding of a case, after which nothing lies in the staging container.
async fn of_copy(case: Case) -> Finding {
    let storage = case.storage.clone();
    let report = case.report().await;
    let [finding] = findings(&report)[..] else { panic!("{}", text_of(&report)) };
    let staging = BlobPlace::of_url("https://uploads.blob.core.windows.net/scorekeeper-staging");
    assert_eq!(storage.parts(&staging, None).await, Ok(PartPage::default()), "nothing stays there");
    let faults = of(&report, Verdict::Fault);
    assert!(faults.is_empty() || faults == ["staging"], "{}", text_of(&report));
    finding.clone()
}

#[tokio::test]
async fn the_smallest_upload_is_copied_once_for_each_pair_of_account_and_container() {
    let uploads = [("eu/large.csv", 9_000), ("eu/small.csv", 7), ("eu/empty.csv", 0), ("us/other.csv", 1)];
    let mut case = grouping(&uploads);
    let (mut same, mut elsewhere, mut alone) = (case.rule.clone(), case.rule.clone(), case.rule.clone());
    (same["id"], elsewhere["id"], alone["id"]) = (json!("same"), json!("elsewhere"), json!("alone"));
    elsewhere["group"]["staging"] = json!("elsewhere");
    alone.as_object_mut().unwrap().remove("group");
    case.more_rules = vec![same, elsewhere, alone];
    let report = case.report().await;
    let told: Vec<_> = findings(&report).into_iter().map(|f| (f.verdict, f.about.as_deref().unwrap_or(""))).collect();
    let ok = |about| (Verdict::Ok, about);
    assert_eq!(told, [ok("copies in uploads/elsewhere"), ok("copies in uploads/scorekeeper-staging")]);
    let finding = of_copy(grouping(&uploads)).await;
    assert!(finding.seen.contains("an upload, eu/small.csv, was copied"), "{finding:?}");
    // Larger than what is copied to try it: a file of our own is.
    for uploads in [&[][..], &[("eu/huge.csv", 65 << 20)]] {
        let finding = of_copy(grouping(uploads)).await;
        assert_eq!(finding.verdict, Verdict::Ok);
        assert!(finding.seen.contains("a file of its own was copied"), "{finding:?}");
    }
}

#[tokio::test]
async fn nothing_is_copied_where_no_rule_groups() {
    let mut case = grouping(&[("eu/a.csv", 7)]);
    case.rule.as_object_mut().unwrap().remove("group");
    case.storage.next_write(Fault::Refused { permanent: true });
    assert_eq!(of_copy(case).await.seen, "no rule groups files");
}

#[tokio::test]
async fn a_copy_that_is_refused_is_a_fault_with_what_helps() {
    let write = grouping(&[("eu/a.csv", 7)]);
    write.storage.next_write(Fault::Refused { permanent: false });
    let own = grouping(&[]);
    own.storage.next_write(Fault::Refused { permanent: false });
    let contributor = "which gives the role 'Storage Blob Data Contributor'";
    let read = grouping(&[("eu/a.csv", 7)]);
    read.storage.refuse_copies_of(&upload("eu/a.csv").url, RefusalKind::MayNotReadSource);
    for (case, parts) in [
        (write, [contributor, "the container uploads/scorekeeper-staging"]),
        (own, [contributor, "the container uploads/scorekeeper-staging"]),
        (read, ["which gives the role 'Storage Blob Data Reader'", "az storage account update --name uploads"]),
    ] {
        let finding = of_copy(case).await;
        assert_eq!(finding.verdict, Verdict::Fault, "{finding:?}");
        for part in parts {
            assert!(finding.remedy.as_deref().is_some_and(|fix| fix.contains(part)), "{part}: {finding:?}");
        }
        assert!(finding.cause.is_some_and(|cause| cause.contains("file")), "what comes of it");
    }
}

#[tokio::test]
async fn an_upload_that_no_right_helps_to_copy_proves_nothing_of_the_others() {
    let case = grouping(&[("eu/a.csv", 7)]);
    case.storage.refuse_copies_of(&upload("eu/a.csv").url, RefusalKind::SourceNotCopied);
    let finding = of_copy(case).await;
    assert_eq!(finding.verdict, Verdict::Unknown, "{finding:?}");
    assert!(finding.seen.ends_with("such a file goes alone"), "{finding:?}");
    assert!(finding.remedy.is_some_and(|needed| needed.contains("once another file lies there")));
}

#[tokio::test]
async fn a_copy_without_an_answer_proves_nothing_and_does_not_stay() {
    for uploads in [&[][..], &[("eu/a.csv", 7)]] {
        for fault in [Fault::LostAnswer { times: 1 }, Fault::LostRequest] {
            let case = grouping(uploads);
            case.storage.next_write(fault);
            let finding = of_copy(case).await;
            assert_eq!(finding.verdict, Verdict::Unknown, "{finding:?}");
            assert!(finding.seen.contains("scorekeeper-staging/0101"), "below the ledger's id: {finding:?}");
        }
    }
}

/// What somebody who is signed in may copy says nothing of the app.
#[tokio::test]
async fn somebody_else_looks_at_the_roles_of_the_app_and_copies_nothing() {
    for may in [false, true] {
        let mut case = grouping(&[("eu/a.csv", 7)]);
        (case.caller, case.ticked) = (Caller::Operator, Some(time::Duration::MINUTE));
        case.storage.next_write(Fault::Refused { permanent: true });
        let scope = format!("{}/blobServices/default/containers/scorekeeper-staging", account("uploads"));
        case.cloud.listed(&format!("{scope}/providers/Microsoft.Authorization/roleAssignments"));
        if may {
            role(&mut case.cloud, APP, CONTRIBUTOR, &scope);
        }
        let finding = of_copy(case).await;
        let verdict = if may { Verdict::Ok } else { Verdict::Fault };
        assert_eq!(finding.verdict, verdict, "{finding:?}");
    }
}
