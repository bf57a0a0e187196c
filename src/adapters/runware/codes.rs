//! The provider's error codes, by what follows from them. There are hundreds and they are "being standardised"
//! (Runware errors page), so codes are matched by pattern; messages never are.

/// What a code means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The provider knew this UUID already.
    Conflict,
    /// The key or the account behind it.
    Account,
    /// A right the key lacks; under 403 it may be about one model only.
    Permission,
    /// Balance, credits, quota.
    Quota,
    /// Too much at once.
    Rate,
    /// The content was refused: the one failure a user can act on.
    Safety,
    /// The work ran out of time.
    Timeout,
    /// The provider has no row for the task: it may be unknown, queued or gone.
    NoTask,
    /// Something the task names does not exist, or exists no more.
    NotFound,
    /// The platform itself.
    Server,
    /// Whoever renders for the platform.
    Provider,
    /// The request is wrong and stays wrong.
    Validation,
    Unknown,
}

const SAFETY: [&str; 9] = [
    "contentpolicyviolation",
    "providercontentpolicyviolation",
    "sensitivecontentdetected",
    "unsafecontentdetected",
    "nsfwcontentdetected",
    "promptblocked",
    "imageblocked",
    "moderationfailed",
    "invalidprovidercontent",
];
const ACCOUNT: [&str; 17] = [
    "unauthorized",
    "authenticationfailed",
    "authfailed",
    "authtimeout",
    "invalidauthentication",
    "invalidcredentials",
    "missingauthentication",
    "tokenexpired",
    "tokeninvalid",
    "tokenmissing",
    "tokenrevoked",
    "accountsuspended",
    "accountdisabled",
    "organizationsuspended",
    "organizationdisabled",
    "workspacesuspended",
    "workspacedisabled",
];
const PERMISSION: [&str; 3] = ["forbidden", "permissiondenied", "insufficientpermissions"];
const NO_TASK: [&str; 4] = [
    "taskfailedornotfound",
    "tasknotfound",
    "taskexpired",
    "responsenotfound",
];
const SERVER: [&str; 8] = [
    "internalservererror",
    "serviceunavailable",
    "serverunavailable",
    "standarderror",
    "unknownerror",
    "undefinederror",
    "defaulterror",
    "unrecognizedresponse",
];
const PROVIDER: [&str; 11] = [
    "inferenceerror",
    "processingfailed",
    "taskfailed",
    "taskcancelled",
    "downloadfailed",
    "uploadfailed",
    "noavailableserver",
    "modelunavailable",
    "modeldisabled",
    "modelnotready",
    "mediastoragefilecouldnotbemoved",
];
const VALIDATION: [&str; 6] = [
    "unknownparameter",
    "incompatibleparameters",
    "mismatchprovidersettingsprovider",
    "modelownershipvalidationerror",
    "modelalreadyexists",
    "validationfailed",
];
const VALIDATION_PREFIXES: [&str; 8] = [
    "invalid",
    "missing",
    "conflict",
    "duplicate",
    "unsupported",
    "value",
    "array",
    "max",
];

impl Family {
    /// Case, `_` and `-` do not count. Whole names go before patterns: `invalidProviderContent` is safety and
    /// `invalidApiKey` the account, though both start like a validation code.
    pub fn of(code: &str) -> Self {
        let code: String = code
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        Self::by_name(&code).unwrap_or_else(|| Self::by_pattern(&code))
    }

    fn by_name(code: &str) -> Option<Self> {
        let lists: [(&[&str], Self); 8] = [
            (&SAFETY, Self::Safety),
            (&["conflicttaskuuid"], Self::Conflict),
            (&ACCOUNT, Self::Account),
            (&PERMISSION, Self::Permission),
            (&NO_TASK, Self::NoTask),
            (&SERVER, Self::Server),
            (&PROVIDER, Self::Provider),
            (&VALIDATION, Self::Validation),
        ];
        lists
            .into_iter()
            .find(|(names, _)| names.contains(&code))
            .map(|(_, family)| family)
    }

    fn by_pattern(code: &str) -> Self {
        let holds = |words: &[&str]| words.iter().any(|w| code.contains(w));
        let starts = |words: &[&str]| words.iter().any(|w| code.starts_with(w));
        if holds(&["apikey"]) {
            Self::Account
        } else if holds(&["credits", "quota", "balance", "paymentrequired"]) {
            Self::Quota
        } else if holds(&["ratelimit"]) {
            Self::Rate
        } else if holds(&["timeout"]) {
            Self::Timeout
        } else if code == "unknownmodel" || code.ends_with("notfound") || code.ends_with("expired") {
            Self::NotFound
        } else if starts(&["provider"]) {
            Self::Provider
        } else if starts(&VALIDATION_PREFIXES) {
            Self::Validation
        } else {
            Self::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_catalogued_code_is_in_its_family() {
        let table: [(Family, &[&str]); 13] = [
            (Family::Conflict, &["conflictTaskUUID", "CONFLICT_TASK_UUID"]),
            (
                Family::Account,
                &[
                    "invalidApiKey",
                    "missingApiKey",
                    "someApiKeyThing",
                    "authTimeout",
                    "tokenExpired",
                    "accountSuspended",
                ],
            ),
            (Family::Permission, &["forbidden", "insufficientPermissions"]),
            (
                Family::Quota,
                &[
                    "insufficientCredits",
                    "quotaExceeded",
                    "lowBalance",
                    "paymentRequired",
                ],
            ),
            (Family::Rate, &["rateLimitExceeded", "providerRateLimitExceeded"]),
            (
                Family::Safety,
                &[
                    "invalidProviderContent",
                    "providerContentPolicyViolation",
                    "nsfwContentDetected",
                ],
            ),
            (
                Family::Timeout,
                &["timeoutProvider", "requestTimeout", "providerTimeout"],
            ),
            (Family::NoTask, &["taskFailedOrNotFound", "taskNotFound"]),
            (
                Family::NotFound,
                &["unknownModel", "imageNotFound", "linkExpired"],
            ),
            (Family::Server, &["internalServerError", "unknownError"]),
            (
                Family::Provider,
                &["providerInternalError", "inferenceError", "taskCancelled"],
            ),
            (
                Family::Validation,
                &[
                    "invalidTtl",
                    "missingPositivePrompt",
                    "unsupportedDuration",
                    "arrayTooSmall",
                    "conflictingParameters",
                    "unknownParameter",
                ],
            ),
            (Family::Unknown, &["", "somethingNew", "☃"]),
        ];
        for (family, codes) in table {
            for code in codes {
                assert_eq!(Family::of(code), family, "{code}");
            }
        }
    }
}
