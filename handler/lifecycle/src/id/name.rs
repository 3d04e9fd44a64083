//! Names that are plain text with a rule for what it may hold.

use std::borrow::Borrow;
use std::str::FromStr;
use std::sync::Arc;

/// What every type has that is made of a text by parsing it: it reads and shows as a `str`, and goes through the same parse
/// in JSON.
macro_rules! text {
    ($name:ident) => {
        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                self.as_str()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use text;

/// A text of its own type: shared when it is cloned, read as a `str`, and made by parsing only.
macro_rules! name {
    (
        $(#[$doc:meta])* $name:ident
        $(#[$error_doc:meta])* $error:ident
        if $good:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        $(#[$error_doc])*
        pub struct $error(
            /// The text that was given and is no such name, as it came.
            pub String,
        );

        impl $name {
            /// The name as it was given: parsing changes nothing of it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        text!($name);

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                let good: fn(&str) -> bool = $good;
                if good(text) { Ok(Self(text.into())) } else { Err($error(text.to_owned())) }
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                *self.0 == *other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                *self.0 == **other
            }
        }

    };
}

name! {
    /// The id of a rule: 1 to 64 ASCII letters, digits, `-` or `_`. It is part of every scoring's id, of keys of rows and of
    /// output paths, so it holds nothing that any of them would have to escape.
    RuleId

    /// A text that is no [`RuleId`].
    #[error("`{0}` is an invalid rule id; it takes 1 to 64 letters, digits, `-` or `_`")]
    InvalidRuleId

    if |text| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    }
}

name! {
    /// The name of a job: the last part of its ARM id and the key of every later call about it. Azure ML makes it; nothing
    /// documents its form, so it is any text but the empty one, which would name the list of all jobs, of up to 260 bytes, the
    /// most that a resource's name has in Azure, and without control characters: forty of them must fit into a row.
    JobName

    /// A text that is no [`JobName`].
    #[error("`{0}` is an invalid job name; it takes 1 to 260 bytes without control characters")]
    InvalidJobName

    if |text| (1..=260).contains(&text.len()) && !text.chars().any(char::is_control)
}

name! {
    /// The name of a deployment behind a batch endpoint, as Resource Manager's contract of Azure ML has it.
    DeploymentName
    /// A text that is no [`DeploymentName`].
    #[error("`{0}` is an invalid deployment name; it takes a letter or digit, then letters, digits, `-` or `_`, 255 in all")]
    InvalidDeploymentName

    if is_resource_name
}

name! {
    /// The name of a datastore in a workspace, as Resource Manager's contract of Azure ML has it.
    DatastoreName
    /// A text that is no [`DatastoreName`].
    #[error("`{0}` is an invalid datastore name; it takes a letter or digit, then letters, digits, `-` or `_`, 255 in all")]
    InvalidDatastoreName

    if is_resource_name
}

name! {
    /// The name of an identity that the app's settings define beside the app's own: part of names of settings, which have it in
    /// capitals.
    IdentityName
    /// A text that is no [`IdentityName`].
    #[error("`{0}` is an invalid name of an identity; it takes a lower-case letter, then lower-case letters and digits, 24 in all")]
    InvalidIdentityName

    if |text| {
        (1..=24).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && text.as_bytes()[0].is_ascii_lowercase()
    }
}

name! {
    /// The name of a storage account.
    AccountName
    /// A text that is no [`AccountName`].
    #[error("`{0}` is an invalid storage account name; it takes 3 to 24 lower-case letters and digits")]
    InvalidAccountName

    if |text| {
        (3..=24).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    }
}

name! {
    /// The name of a blob container. `$logs` and its like raise no events, so they are none here.
    ContainerName
    /// A text that is no [`ContainerName`].
    #[error(
        "`{0}` is an invalid container name; it takes 3 to 63 lower-case letters, digits and single hyphens, and begins and ends with a letter or digit"
    )]
    InvalidContainerName

    if |text| {
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        matches!(text, "$root" | "$web") || ((3..=63).contains(&text.len()) && text.split('-').all(is_part))
    }
}

name! {
    /// A service's own id of an answer (`x-ms-request-id`): what its support asks for. Nothing documents its form; Azure's have
    /// some forty characters.
    ServiceRequestId
    /// A text that is no [`ServiceRequestId`].
    #[error("`{0}` is an invalid id of a request; it takes 1 to 128 visible ASCII characters")]
    InvalidServiceRequestId

    if |text| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Resource Manager's pattern for children of a workspace: `^[a-zA-Z0-9][a-zA-Z0-9\-_]{0,254}$`.
fn is_resource_name(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && text.as_bytes()[0].is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_by_parsing_only_and_say_what_was_wrong() {
        assert_eq!(format!("a-b_{}", "9".repeat(60)).parse::<RuleId>().map(|id| id.len()), Ok(64));
        for bad in ["", "a b", "a.b", "ä", &"9".repeat(65)] {
            assert_eq!(bad.parse::<RuleId>(), Err(InvalidRuleId(bad.to_owned())));
        }
        assert_eq!("a job/with anything".parse::<JobName>().as_deref(), Ok("a job/with anything"));
        assert!("".parse::<JobName>().is_err_and(|error| error.to_string().contains("job name")));
        assert!("v7".parse::<DeploymentName>().is_ok_and(|name| name == "v7"));
        for bad in ["", "v 7", "v\n7", "vü", "-v7", "v.7", &"v".repeat(256)] {
            assert!(bad.parse::<DeploymentName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn accounts_and_containers_are_named_as_azure_storage_names_them() {
        for good in ["abc", "0uploads", &"a".repeat(24)] {
            assert!(good.parse::<AccountName>().is_ok(), "{good}");
        }
        for bad in ["ab", "Uploads", "up-loads", "https://uploads.blob.core.windows.net", &"a".repeat(25)] {
            assert!(bad.parse::<AccountName>().is_err(), "{bad}");
        }
        for good in ["abc", "a-b-c", "0-1", "$root", "$web", &"a".repeat(63)] {
            assert!(good.parse::<ContainerName>().is_ok(), "{good}");
        }
        for bad in ["", "ab", "Claims", "a--b", "-ab", "ab-", "a_b", "a/b", "$logs", &"a".repeat(64)] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_identity_is_named_so_that_settings_can_hold_the_name() {
        for good in ["p", "partner", "tenant2", &"a".repeat(24)] {
            assert!(good.parse::<IdentityName>().is_ok(), "{good}");
        }
        for bad in ["", "Partner", "2nd", "my-partner", "a_b", "clientId=x", &"a".repeat(25)] {
            assert!(bad.parse::<IdentityName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_read_from_json_by_the_same_parse() {
        assert!(serde_json::from_str::<RuleId>("\"claims\"").is_ok_and(|id| id == "claims"));
        let refused = serde_json::from_str::<RuleId>("\"a b\"").expect_err("not an id").to_string();
        assert!(refused.contains("1 to 64 letters"), "{refused}");
        let name: JobName = "job-1".parse().expect("a name");
        assert_eq!(
            (serde_json::to_string(&name).ok().as_deref(), format!("{name:?}")),
            (Some("\"job-1\""), "\"job-1\"".to_owned())
        );
    }
}
