//! The embedded store on a disk that is full, slow, damaged or missing: a clear error, and no answered call is lost.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use tempfile::TempDir;
use tollgate::{
    store::{Store, StoreError, StoreLocation, StoreOptions},
    transaction::{Key, Read, Record, Scope, Transaction, Write},
};

use super::stage::{TEAM, asks_to_repeat, now_ms};
use crate::suite::support::{
    STORE_WAIT,
    client::{Client, prompt_test, team_without_seat, until_answered},
    sidecar::{Sidecar, tollgate},
};

const FILE_NAME: &str = "tollgate.redb";

/// A sidecar process with its file in its own directory.
struct OnDisk {
    home: Arc<TempDir>,
    sidecar: Sidecar,
    client: Client,
}

impl OnDisk {
    async fn start() -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let store = format!("embedded:{}", home.path().join("data").display());
        let sidecar = Sidecar::start_in(&home, &["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--store", &store]);
        let client = sidecar.client();
        client.put_team(team_without_seat(TEAM, 1_000_000)).await;
        Self { home, sidecar, client }
    }

    fn file(&self) -> std::path::PathBuf {
        self.home.path().join("data").join(FILE_NAME)
    }

    /// Reserves and commits until a call fails because of the store. Returns the number of answered commits.
    async fn commit_until_refused(&self) -> usize {
        for number in 0..100_000 {
            let id = format!("r-{number}");
            let granted = match self.client.reserve(prompt_test(TEAM, &id, "gpt-4o")).await {
                Ok(tollgate::proto::v1::check_and_reserve_response::Decision::Proceed(granted)) => granted,
                Ok(other) => panic!("{other:?}"),
                Err(status) => {
                    asks_to_repeat(&status);
                    return number;
                }
            };
            if let Err(status) = self.client.commit(TEAM, &id, &granted.grant).await {
                asks_to_repeat(&status);
                return number;
            }
        }
        panic!("the disk did not become full");
    }
}

/// Limits the size of a process's files, which has the effect of a full disk.
fn limit_file_size(process_id: u32, bytes: &str) {
    let limit = [format!("--pid={process_id}"), format!("--fsize={bytes}:")];
    assert!(Command::new("prlimit").args(limit).status().unwrap().success());
}

#[tokio::test]
async fn a_full_disk_loses_no_answered_call() {
    let mut on_disk = OnDisk::start().await;
    let half = fs::metadata(on_disk.file()).unwrap().len() / 2;
    limit_file_size(on_disk.sidecar.process_id(), &half.to_string());
    let answered = on_disk.commit_until_refused().await;
    for _ in 0..5 {
        asks_to_repeat(&on_disk.client.reserve(prompt_test(TEAM, "more", "gpt-4o")).await.unwrap_err());
    }
    assert!(on_disk.sidecar.stderr().contains("store lost"), "{}", on_disk.sidecar.stderr());

    limit_file_size(on_disk.sidecar.process_id(), "unlimited");
    let (client, id) = (&on_disk.client, format!("r-{answered}"));
    let granted = client.proceed(prompt_test(TEAM, &id, "gpt-4o")).await;
    until_answered("a commit", || client.commit(TEAM, &id, &granted.grant)).await;
    let used = 2 * (answered as i64 + 1);
    for _ in 0..2 {
        let books = on_disk.client.books(TEAM).await;
        assert_eq!((books.balance.used, books.credits, books.balance.held), (used, used, 0));
        on_disk.sidecar.kill();
        on_disk.sidecar.restart();
        on_disk.client = on_disk.sidecar.client();
    }
}

#[tokio::test]
async fn a_removed_or_replaced_file_is_not_written() {
    let on_disk = OnDisk::start().await;
    let (file, aside) = (on_disk.file(), on_disk.home.path().join("aside"));
    let reserve = |id: &'static str| on_disk.client.reserve(prompt_test(TEAM, id, "gpt-4o"));
    assert!(reserve("before").await.is_ok());

    fs::rename(&file, &aside).unwrap();
    asks_to_repeat(&reserve("removed").await.unwrap_err());
    fs::copy(&aside, &file).unwrap();
    asks_to_repeat(&reserve("replaced").await.unwrap_err());
    let logged = on_disk.sidecar.stderr();
    assert_eq!(logged.matches("was removed or replaced while it was open").count(), 1, "{logged}");
    assert_eq!(logged.matches("ERROR").count(), 1, "{logged}");

    fs::rename(&aside, &file).unwrap();
    assert!(reserve("after").await.is_ok());
    assert_eq!(on_disk.client.books(TEAM).await.balance.held, 4);
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
    for _ in 0..3 {
        asks_to_repeat(&reserve("gone").await.unwrap_err());
    }
}

#[test]
fn an_unwritable_directory_is_refused_by_name() {
    // Not even the superuser can create files there.
    for (directory, says) in
        [("/proc", "/proc/tollgate.redb could not be opened"), ("/proc/books", "could not be created")]
    {
        let output =
            tollgate(&["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--store", &format!("embedded:{directory}")]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(69), "{message}");
        assert!(message.contains(says), "{message}");
    }
}

async fn open(directory: &Path, wait: Duration) -> Result<Store, String> {
    let options = StoreOptions { wait, ..StoreOptions::default() };
    let location = StoreLocation::Embedded(directory.to_owned());
    Store::open(&location, options).await.map_err(|error| error.to_string())
}

/// Returns a transaction that adds 1 to a number that starts at 0.
fn count(name: &str) -> Transaction {
    let mut step = Transaction::on(Scope::new(TEAM));
    let record = step.starting_record(Key::hash(name), Read::Whole, vec![("n", 0.into())]);
    step.option(vec![], vec![Write::Add(record, "n", 1)]);
    step
}

async fn counted(store: &Store, name: &str) -> i64 {
    let mut step = Transaction::on(Scope::new(TEAM));
    step.record(Key::hash(name), Read::Whole);
    match store.transact(step).await.unwrap().records.remove(0) {
        Record::Hash(fields) => fields.number("n").unwrap(),
        _ => 0,
    }
}

/// A call for which the disk takes too long fails within its timeout, and is carried out all the same.
#[tokio::test]
async fn a_call_on_a_slow_disk_times_out_and_is_carried_out() {
    let directory = tempfile::tempdir().unwrap();
    let patient = open(directory.path(), STORE_WAIT).await.unwrap();
    patient.transact(count("before")).await.unwrap();
    patient.close().await;
    let store = open(directory.path(), Duration::from_millis(1)).await.unwrap();
    let long = store.transact_all((0..5_000).map(|_| count("many")).collect());
    let (begun_ms, answer) = (now_ms(), long.await);
    assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{:?}", answer.map(|replies| replies.len()));
    let took_ms = now_ms() - begun_ms;
    assert!(took_ms < 3_000, "it took {took_ms} ms");
    store.close().await;
    let store = open(directory.path(), STORE_WAIT).await.unwrap();
    assert_eq!((counted(&store, "before").await, counted(&store, "many").await), (1, 5_000));
}

/// Number of records in the file that is damaged.
const RECORDS: i64 = 100;

/// Wherever a file is damaged, it is either refused or all its records are correct.
#[tokio::test]
async fn any_damaged_file_is_refused_or_has_correct_records() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), STORE_WAIT).await.unwrap();
    for number in 0..RECORDS {
        store.transact_all((0..=number).map(|_| count(&format!("h{number}"))).collect()).await.unwrap();
    }
    store.close().await;
    let whole = fs::read(directory.path().join(FILE_NAME)).unwrap();

    // The header is at the start of the file, and is damaged everywhere. After it, each page is damaged somewhere.
    let offsets = (0..512).step_by(8).chain((512..whole.len()).step_by(4_096 + 40));
    let flipped = offsets.map(|offset| {
        let mut damaged = whole.clone();
        let end = damaged.len().min(offset + 8);
        damaged[offset..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
        (format!("8 bytes at {offset}"), damaged)
    });
    let lengths = (0..16).map(|part| whole.len() * part / 16).chain([1, 64, 320, whole.len() - 1]);
    let shortened = lengths.map(|length| (format!("only {length} bytes"), whole[..length].to_vec()));
    let (mut refused, mut right) = (0, 0);
    for (what, damaged) in flipped.chain(shortened) {
        fs::write(directory.path().join(FILE_NAME), damaged).unwrap();
        match open(directory.path(), STORE_WAIT).await {
            Err(refusal) => {
                assert!(refusal.contains("is damaged, or is not a file of Tollgate"), "{what}: {refusal}");
                refused += 1;
            }
            Ok(store) => {
                for number in 0..RECORDS {
                    assert_eq!(counted(&store, &format!("h{number}")).await, number + 1, "{what}");
                }
                right += 1;
                store.close().await;
            }
        }
    }
    assert!(refused > 30 && right > 20, "{refused} refused, {right} with correct records");
}
