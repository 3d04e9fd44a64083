//! The load: kept connections, each with one event under way at any time, every event another upload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpStream;

use crate::fakes::{Counts, Fakes};
use crate::process::{Cpu, Handler};
use crate::wire::{Message, Wire};
use crate::{Outcome, upload};

/// Invocations under way at one time: a busy Functions host. Below the handler's own bound, so nothing queues in it.
pub(crate) const CONNECTIONS: usize = 32;

/// Numbers of uploads; no two events of a run are about the same.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What a stretch of load came to.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    pub(crate) events: u64,
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// The handler's processor time per event.
    pub(crate) cpu: Cpu,
    /// What the fakes were asked for.
    pub(crate) counts: Counts,
}

/// Sends events for so long, waits for the last answer and says what it came to. Any answer but 200 is an error.
pub(crate) async fn load(handler: &Handler, fakes: &Fakes, for_long: Duration) -> Outcome<Stretch> {
    let (port, until) = (handler.port, Instant::now() + for_long);
    measured(handler, fakes, async {
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(client(port, until))).collect();
        let mut latencies = Vec::new();
        for client in clients {
            latencies.extend(client.await??);
        }
        Ok(latencies)
    })
    .await
}

/// For so long one delivery after the other, each of so many events: the host spreads it over as many invocations, and the next
/// one comes when all are done.
pub(crate) async fn deliveries(handler: &Handler, fakes: &Fakes, size: usize, for_long: Duration) -> Outcome<Stretch> {
    let (port, until) = (handler.port, Instant::now() + for_long);
    measured(handler, fakes, async {
        let mut wires = futures::future::try_join_all((0..size).map(|_| connect(port))).await?;
        let mut latencies = Vec::new();
        while Instant::now() < until {
            latencies.extend(futures::future::try_join_all(wires.iter_mut().map(one)).await?);
        }
        Ok(latencies)
    })
    .await
}

/// What the handler and the fakes did meanwhile; `work` gives how long each event took.
async fn measured(
    handler: &Handler,
    fakes: &Fakes,
    work: impl Future<Output = Outcome<Vec<Duration>>>,
) -> Outcome<Stretch> {
    let (counts, cpu, began) = (fakes.counts(), handler.cpu()?, Instant::now());
    let mut latencies = work.await?;
    let took = began.elapsed();
    latencies.sort_unstable();
    let at = |per_cent: usize| latencies.get(latencies.len() * per_cent / 100).copied().unwrap_or_default();
    let events = u32::try_from(latencies.len())?;
    if events == 0 {
        return Err("not one event was answered".into());
    }
    Ok(Stretch {
        events: events.into(),
        per_second: f64::from(events) / took.as_secs_f64(),
        p50: at(50),
        p99: at(99),
        cpu: handler.cpu()?.since(cpu).of_each(events),
        counts: fakes.counts().since(&counts),
    })
}

/// Sends so many events, by as many at a time as [`load`].
pub(crate) async fn events(handler: &Handler, count: usize) -> Outcome<()> {
    let port = handler.port;
    let each = count / CONNECTIONS;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            tokio::spawn(async move {
                let mut wire = connect(port).await?;
                for _ in 0..each {
                    let body = upload::envelope(NEXT.fetch_add(1, Ordering::Relaxed));
                    invoke(&mut wire, "BlobCreated", &body).await?;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    Ok(())
}

async fn client(port: u16, until: Instant) -> Outcome<Vec<Duration>> {
    let mut wire = connect(port).await?;
    let mut latencies = Vec::new();
    while Instant::now() < until {
        latencies.push(one(&mut wire).await?);
    }
    Ok(latencies)
}

/// One event; how long its answer took.
pub(crate) async fn one_event(handler: &Handler) -> Outcome<Duration> {
    one(&mut connect(handler.port).await?).await
}

async fn one(wire: &mut Wire) -> Outcome<Duration> {
    let body = upload::envelope(NEXT.fetch_add(1, Ordering::Relaxed));
    let began = Instant::now();
    invoke(wire, "BlobCreated", &body).await?;
    Ok(began.elapsed())
}

pub(crate) async fn connect(port: u16) -> Outcome<Wire> {
    Ok(Wire::new(TcpStream::connect(("127.0.0.1", port)).await?)?)
}

/// Calls a function as the host does: chunked, with the host's headers.
pub(crate) async fn invoke(wire: &mut Wire, function: &str, body: &str) -> Outcome<Message> {
    let request = format!(
        "POST /{function} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Azure-Functions-Host/4.1037.0.0\r\n\
         X-Azure-Functions-HostVersion: 4.1037.0.0\r\nX-Azure-Functions-InvocationId: 5b1c0f8e-8f0e-4f5e-9d55-0c8f2c7f4a10\r\n\
         Content-Type: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    wire.send(request.as_bytes()).await?;
    let answer = wire.read().await?.ok_or("the handler closed the connection")?;
    if answer.status() == 200 {
        Ok(answer)
    } else {
        Err(format!("{function} was answered {}: {}", answer.start(), String::from_utf8_lossy(&answer.body)).into())
    }
}

/// Rows of the in-flight index as the service gives them, in pages of 1,000: running jobs, spread over all parts.
#[expect(clippy::disallowed_methods, reason = "a bench is its own host")]
pub(crate) fn index(count: usize, endpoint: &str) -> Vec<Vec<Arc<str>>> {
    // Jobs that run for an hour by now: older than `jobTimeout` they would be cancelled, and newer ones are not due.
    let since = row_time(SystemTime::now() - Duration::from_secs(3_600));
    let parts = usize::from(app::ledger::IN_FLIGHT_PARTS);
    let part = |part: usize| {
        let rows: Vec<_> = (part..count).step_by(parts).map(|n| row(part, n, endpoint, &since)).collect();
        rows.chunks(1_000).map(|page| format!(r#"{{"value":[{}]}}"#, page.join(",")).into()).collect()
    };
    (0..parts).map(part).collect()
}

/// A time as the Table service writes it, to the second.
fn row_time(at: SystemTime) -> String {
    let text = OffsetDateTime::from(at).replace_nanosecond(0).map(|at| at.format(&Rfc3339));
    text.map(Result::unwrap_or_default).unwrap_or_default()
}

fn row(part: usize, n: usize, endpoint: &str, since: &str) -> String {
    format!(
        r#"{{"odata.etag":"W/\"1\"","PartitionKey":"s00","RowKey":"F~{part:x}{n:031x}","SchemaVersion":1,"State":"running","StateSince@odata.type":"Edm.DateTime","StateSince":"{since}","Due@odata.type":"Edm.DateTime","Due":"2099-07-21T10:00:00.1234567Z","RuleId":"claims","Endpoint":"{endpoint}","JobName":"batchjob-{n:012}","JobStatus":"Running","Missing":false,"CreatedTime@odata.type":"Edm.DateTime","CreatedTime":"{since}","Attempt":1,"Refusals":0}}"#
    )
}
