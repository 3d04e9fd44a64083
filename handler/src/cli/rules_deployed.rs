//! Rules against what is deployed: event subscriptions, their filters and roles are made at deployment, by the rules of that day.

use std::io::Write;
use std::path::PathBuf;

use ::doctor::{Caller, Check, Report, RulesSeen, RulesState, Verdict};
use app::ports::Clock;
use lifecycle::Rules;
use lifecycle::duration::IsoDuration;
use time::Duration;

use super::doctor::{AppSettings, DoctorArgs, settings as checked};
use super::json::JsonArgs;
use super::rules::Error;
use super::{one_thread, working_directory};
use crate::compose;
use crate::config::{ProcessVars, RulesAccess};

/// How long the look at what is deployed may take.
const WITHIN: Duration = Duration::minutes(1);

/// By which settings and as which app the rules are compared with what is deployed.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DeployedArgs {
    /// The app's settings, which say what rules may name and where events must go: as `doctor` takes them
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// ARM id of the function app, for one who is not the app
    #[arg(long, value_name = "ID")]
    app: Option<String>,
}

impl DeployedArgs {
    /// Whether rules are to be compared with it.
    pub(super) fn are_given(&self) -> bool {
        self.settings.is_some() || self.app.is_some()
    }

    fn of_doctor(&self) -> DoctorArgs {
        let (settings, app) = (self.settings.clone(), self.app.clone());
        DoctorArgs { settings, app, within: IsoDuration(WITHIN), quiet: true, json: JsonArgs::TEXT }
    }

    /// The app's settings; of this process where no file is given.
    pub(super) fn app_settings<'a>(&self, process: &'a ProcessVars) -> Result<AppSettings<'a>, super::Error> {
        Ok(AppSettings::read(&self.of_doctor(), process)?)
    }

    /// What of the deployment does not fit these rules, or what is wrong with the settings.
    pub(super) fn compare(&self, rules: Rules, seen: Option<RulesSeen>, clock: &Clock) -> Result<Report, super::Error> {
        let settings = self.app_settings(&ProcessVars)?;
        let mut config = match checked(&settings, &working_directory()?) {
            Ok(config) => config,
            Err(report) => return Ok(report),
        };
        config.rules = rules;
        let caller = if settings.is_app() { Caller::App } else { Caller::Operator };
        let limit = WITHIN.try_into().unwrap_or_default(); // never negative
        let doctor = compose::doctor(&config, caller, settings.facts(&self.of_doctor()), limit, Clock::clone(clock));
        let mut doctor = doctor.map_err(Error::from)?;
        doctor.installation.rules_blob = seen;
        let runtime = one_thread()?;
        let report = runtime.block_on(doctor.deployment());
        // Looks that were given up are not waited for.
        runtime.shutdown_background();
        Ok(report)
    }

    /// The blob that the app reads its rules from, as if good ones lay there.
    pub(super) fn rules_seen(&self) -> Result<Option<RulesSeen>, super::Error> {
        let access = RulesAccess::read(&self.app_settings(&ProcessVars)?)?;
        Ok(access.in_blob.map(|at| RulesSeen {
            url: at.url.to_string(),
            account: at.blob.account.clone(),
            container: at.blob.container.clone(),
            state: RulesState::Good { etag: String::new() },
        }))
    }
}

/// Prints what of the deployment does not fit the rules. `false`: they must not hold at all.
pub(super) fn print(report: &Report, out: &mut dyn Write) -> std::io::Result<bool> {
    let mut may_hold = true;
    for finding in &report.findings {
        let what = match finding.verdict {
            Verdict::Fault if finding.check == Check::Settings => {
                may_hold = false;
                "fix:"
            }
            Verdict::Fault => "deploy:",
            Verdict::Unknown => "needs:",
            Verdict::Ok | Verdict::Warning => continue,
        };
        let about = finding.about.as_deref().unwrap_or("the installation");
        writeln!(out, "{} {} ({about}): {}", finding.verdict.name(), finding.check, finding.seen)?;
        if let Some(remedy) = &finding.remedy {
            writeln!(out, "  {what} {remedy}")?;
        }
    }
    Ok(may_hold)
}
