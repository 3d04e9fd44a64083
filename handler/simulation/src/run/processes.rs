//! Processes begin, freeze and die.

use std::sync::Arc;

use lifecycle::{LedgerId, StorageHosts};
use time::Duration;

use super::{Control, Run};
use crate::faults::Kind;
use crate::process_ports::ProcessPorts;
use crate::world::{TASK_HUBS, skewed};
use app::ledger::{Ledger, LedgerOptions};
use app::ports::table_store::TableStore;
use app::ports::{Blobs, Endpoint};
use app::{App, Parts};

impl Run {
    /// After each turn of a process: it may die here, or freeze.
    pub(super) fn strike(&mut self, process: usize) {
        if self.healed {
            return;
        }
        let mut state = self.world.state();
        if self.kills_left > 0 && state.dice.strikes(Kind::Kills, 4) {
            self.kills_left -= 1;
            let away = state.dice.stream(Kind::Kills).seconds(0, 120);
            drop(state);
            self.kill(process, away);
        } else if self.pauses_left > 0 && state.dice.strikes(Kind::Pauses, 3) {
            self.pauses_left -= 1;
            let away = state.dice.stream(Kind::Pauses).seconds(5, 1_200);
            drop(state);
            self.freeze(process, away);
        }
    }

    pub(super) fn freeze(&mut self, process: usize, away: Duration) {
        self.world.trace(Some(process), None, || format!("freezes for {away}"));
        self.executor.pause(process);
        self.later(away, Control::Resume(process));
    }

    pub(super) fn kill(&mut self, process: usize, away: Duration) {
        self.world.trace(Some(process), None, || format!("dies; another begins in its place after {away}"));
        self.executor.kill(process);
        self.processes[process].app = None;
        self.later(away, Control::Begin(process));
    }

    pub(super) fn begin(&mut self, process: usize) {
        self.writers += 1;
        let clock_off = Arc::clone(&self.processes[process].clock_off);
        let ports = Arc::new(ProcessPorts { world: self.world.clone(), process });
        let store = (self.wiring.store)(Arc::clone(&ports) as Arc<dyn TableStore>);
        let options = LedgerOptions {
            task_hub: TASK_HUBS[self.world.installation(process)].to_owned(),
            writer: format!("w{}", self.writers),
            // Each process would call the ledger something else: the first one's word must hold for all.
            new_id: (self.wiring.ledger_id)(LedgerId::of_random(self.ids.bytes())),
            projection: true,
        };
        let ledger = Ledger::new(store, &options).expect("the task hub's name is fixed and good");
        let app = App::new(Parts {
            callbacks: None,
            ledger,
            endpoint: (self.wiring.endpoint)(Arc::clone(&ports) as Arc<dyn Endpoint>),
            blobs: (self.wiring.blobs)(ports as Arc<dyn Blobs>),
            dead_letters: None,
            rules: (self.wiring.rules)(&self.rules),
            storage_hosts: StorageHosts::of_cloud("core.windows.net").watching("uploads"),
            clock: (self.wiring.clock)(skewed(self.world.time(), &clock_off)),
            orphan_scan_interval: Some(self.plan.orphan_scan_interval),
            retention: Duration::days(400),
        });
        self.processes[process].app = Some(app);
    }
}
