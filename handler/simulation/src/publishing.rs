//! Writes of one process to published paths, behind the network: lost, answered to nobody, late, refused; and somebody else who
//! writes there first.

use app::ports::{Answered, Inconclusive};
use lifecycle::publication::{Refusal, RefusalKind};
use lifecycle::{BlobPlace, PublicationMark, Published};
use stores::fault::Fault;
use time::{Duration, OffsetDateTime};

use crate::cloud::Cloud;
use crate::cloud::storage::is_copy;
use crate::faults::{Dice, Kind};
use crate::process_ports::ProcessPorts;
use crate::world::{World, WorldState};

/// A client gives up on a write after this.
const WRITE_TIMEOUT: Duration = Duration::seconds(60);

/// What is done at the storage.
pub(super) type Write = Box<dyn FnOnce(&mut Cloud, OffsetDateTime) -> Published + Send>;

/// What becomes of a write: the faults of [`Fault`] that a write to storage has, and why one is refused.
#[derive(Debug, Clone, Copy)]
enum WriteFault {
    Pass,
    LostRequest,
    LostAnswer,
    /// It arrives so long after it was sent.
    Delayed(Duration),
    Refused(RefusalKind),
}

impl WriteFault {
    /// As a test orders it.
    fn ordered(fault: &Fault) -> Self {
        match fault {
            Fault::LostRequest => Self::LostRequest,
            Fault::LostAnswer { .. } => Self::LostAnswer,
            Fault::Refused { .. } => Self::Refused(RefusalKind::MayNotWrite),
            _ => Self::Pass,
        }
    }

    fn draw(dice: &mut Dice) -> Self {
        if !dice.strikes(Kind::PublishLost, 120) {
            return Self::Pass;
        }
        let stream = dice.stream(Kind::PublishLost);
        match stream.below(5) {
            0 => Self::LostRequest,
            1 => Self::Delayed(stream.seconds(61, 900)),
            2 => Self::Refused(stream.pick(&[
                RefusalKind::MayNotWrite,
                RefusalKind::MayNotReadSource,
                RefusalKind::Leased,
            ])),
            _ => Self::LostAnswer,
        }
    }
}

impl ProcessPorts {
    /// Sends a write once: its fate decides whether it arrives, and whether its answer does.
    pub(super) async fn write_blob(
        &self,
        to: &BlobPlace,
        mark: &PublicationMark,
        write: Write,
    ) -> Result<Answered<Published>, Inconclusive> {
        let process = self.process;
        let (fate, raced, there, back) = {
            let at = self.world.0.time.elapsed();
            let mut state = self.world.state();
            // Rights that are missing are missing for writes, too.
            let fate = match state.next_writes.pop_front() {
                Some(fault) => WriteFault::ordered(&fault),
                None if state.blind(at) => WriteFault::Refused(RefusalKind::MayNotWrite),
                None => WriteFault::draw(&mut state.dice),
            };
            // Nobody but the group writes into its folder, whose path nobody else knows.
            let raced = !is_copy(&to.uri) && state.dice.strikes(Kind::PublishRaced, 60);
            state.trace.line(at, Some(process), Some(&mark.scoring), || {
                format!("writes {}; its fate: {fate:?}{}", to.uri, if raced { ", and somebody is faster" } else { "" })
            });
            (fate, raced, state.pause(), state.pause())
        };
        let reset = || Err(Inconclusive::not_reachable("the connection was reset"));
        let (place, whose, installation) = (to.uri.clone(), mark.clone(), self.world.installation(process));
        let arrive = move |world: &World| {
            let (at, now) = (world.0.time.elapsed(), world.0.time.now());
            let mut state = world.state();
            state.effect(process);
            state.trace.fold(at, process, 3_000);
            if raced {
                state.cloud.publications.put_foreign(&place, 1);
            }
            let WorldState { cloud, invariants, .. } = &mut *state;
            let done = write(cloud, now);
            if matches!(done, Published::Written { .. }) {
                invariants[installation].written(&place, &whose, cloud);
            }
            done
        };
        match fate {
            WriteFault::LostRequest => {
                self.sleep(there + back).await;
                reset()
            }
            WriteFault::Refused(kind) => {
                self.sleep(there + back).await;
                let text = format!("403 about {}: its fate", to.uri);
                Ok(Published::Refused(Refusal { kind, text }).into())
            }
            WriteFault::Delayed(after) => {
                drop(self.world.send(after, Duration::ZERO, Box::new(arrive)));
                self.sleep(WRITE_TIMEOUT).await;
                Err(Inconclusive::not_reachable("no answer in time"))
            }
            WriteFault::LostAnswer => {
                self.world.send(there, back, Box::new(arrive)).await;
                reset()
            }
            WriteFault::Pass => Ok(self.world.send(there, back, Box::new(arrive)).await.into()),
        }
    }
}
