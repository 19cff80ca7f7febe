use std::time::Duration;

use airlift_discover::SeenDevice;
use serde_json::json;

use super::*;
use crate::dto::{self, JobDetail, Settings};
use crate::home::Instance;
use crate::job::JobState;
use crate::job::tests::{device, release};

fn home(dir: &tempfile::TempDir) -> Home {
    Home::open(dir.path()).unwrap()
}

async fn store(dir: &tempfile::TempDir) -> Store {
    let (store, mended) = Store::open(&home(dir)).await.unwrap();
    assert_eq!(mended, None);
    store
}

async fn add(store: &Store, owner: &str) -> u32 {
    let release = release(8292, 8192);
    let added = store.add_job("c3-1", "porch", &release, true, 5.0, owner);
    added.await.unwrap().expect("no job runs on it")
}

fn ended(id: u32) -> JobDetail {
    let mut job = JobState::new(id, "c3-1", "porch", release(8292, 8192), false, 5.0);
    job.begin(&device(json!({"product": "lamp"})), Duration::ZERO);
    job.ended = Some(6.5);
    job.detail(1, Duration::ZERO)
}

#[tokio::test]
async fn a_job_is_unfinished_until_it_ends_and_then_it_is_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let id = add(&store, "1-0").await;
    let open = store.unfinished().await.unwrap();
    assert_eq!((open.len(), open[0].id, open[0].retry), (1, id, true));
    assert_eq!(open[0].release, release(8292, 8192));

    let detail = ended(id);
    store.finish(&detail).await.unwrap();
    assert!(store.unfinished().await.unwrap().is_empty());
    let row = &store.history().await.unwrap()[0];
    assert_eq!(
        (row.end, row.code.as_deref()),
        (Some(dto::End::Failed), Some("wrong_product"))
    );
    assert_eq!((row.ended, row.to_version.as_str()), (Some(6.5), "1.1.0"));
    assert_eq!(store.detail(id).await.unwrap(), Some(detail.clone()));
    assert_eq!(store.recent(5).await.unwrap(), [detail.job]);
}

#[tokio::test]
async fn where_a_job_was_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(&dir).await;
    let id = add(&first, "1-0").await;
    let mut job = JobState::new(id, "c3-1", "porch", release(8292, 8192), false, 5.0);
    job.begin(&device(json!({})), Duration::ZERO);
    first.progress(&job).await.unwrap();
    drop(first);
    let again = store(&dir).await.unfinished().await.unwrap();
    assert_eq!(again[0].resume, job.to_resume());
}

#[tokio::test]
async fn of_two_processes_one_gets_the_orphan() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (store(&dir).await, store(&dir).await);
    let id = add(&a, "gone").await;
    assert!(a.adopt(id, "gone", "a").await.unwrap());
    assert!(!b.adopt(id, "gone", "b").await.unwrap());
}

#[tokio::test]
async fn two_processes_write_at_once_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (store(&dir).await, store(&dir).await);
    let many = |store: Store, name: &'static str| async move {
        for n in 0..20 {
            let (device, release) = (format!("{name}-{n}"), release(8292, 8192));
            let added = store.add_job(&device, "porch", &release, false, 5.0, "x");
            assert!(added.await.unwrap().is_some());
        }
    };
    tokio::join!(many(a.clone(), "a"), many(b, "b"));
    let mut ids: Vec<u32> = a
        .unfinished()
        .await
        .unwrap()
        .iter()
        .map(|job| job.id)
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 40);
}

fn seen(unix: Option<u64>) -> SeenDevice {
    let info = device(json!({}));
    SeenDevice {
        id: info.id.clone(),
        info,
        addresses: vec!["10.0.0.21:80".parse().unwrap()],
        rivals: vec![],
        online: true,
        last_seen_unix: unix,
        source: airlift_discover::Source::Mdns,
        local_addr: None,
        round_trip: None,
    }
}

#[tokio::test]
async fn a_remembered_device_comes_back_with_what_it_said() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    store
        .remember(vec![seen(Some(100)), seen(None)])
        .await
        .unwrap();
    let remembered = store.remembered().await.unwrap();
    assert_eq!(remembered[0].info, Some(device(json!({}))));
    assert_eq!(remembered[0].addresses, seen(None).addresses);
    let last_seen = remembered[0].last_seen_unix;
    assert_eq!(
        last_seen,
        Some(100),
        "an unknown time does not undo a known one"
    );
    store.forget(seen(None).id.as_str()).await.unwrap();
    assert!(store.remembered().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_device_that_came_back_later_is_noted_once_in_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let id = add(&store, "x").await;
    let mut detail = ended(id);
    let error = detail.job.error.as_mut().unwrap();
    error.code = "not_seen_again".into();
    store.finish(&detail).await.unwrap();
    assert_eq!(
        store.not_seen_again().await.unwrap(),
        [("c3-1".to_owned(), id)]
    );
    store.add_note(id, "It came back later.").await.unwrap();
    assert!(store.not_seen_again().await.unwrap().is_empty());
    let summary = &store.history().await.unwrap()[0].summary;
    assert!(summary.ends_with(" It came back later."), "{summary}");
}

#[tokio::test]
async fn a_newer_database_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    drop(store(&dir).await);
    Connection::open(home(&dir).database())
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = Store::open(&home(&dir)).await.err().unwrap();
    assert!(
        matches!(error, Error::NewerDatabase { found: 99, .. }),
        "{error}"
    );
    assert_eq!(error.code().as_str(), "database");
}

#[tokio::test]
async fn a_second_job_on_a_device_is_not_added_while_the_first_runs() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let first = add(&store, "1-0").await;
    let release = release(8292, 8192);
    let again = store.add_job("c3-1", "porch", &release, false, 6.0, "2-0");
    assert_eq!(again.await.unwrap(), None);
    store.finish(&ended(first)).await.unwrap();
    assert_ne!(add(&store, "2-0").await, first);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_costs_that_row_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let (good, bad) = (add(&store, "1-0").await, {
        let release = release(8292, 8192);
        let id = store.add_job("c3-2", "attic", &release, false, 5.0, "1-0");
        id.await.unwrap().unwrap()
    });
    store.finish(&ended(good)).await.unwrap();
    let damage = move |db: &mut Connection| {
        db.execute(
            "UPDATE jobs SET release = '{', detail = '{' WHERE id = ?1",
            [bad],
        )
    };
    store.call(damage).await.unwrap();
    // It cannot go on, and its device is free again.
    assert!(store.unfinished().await.unwrap().is_empty());
    let history = store.history().await.unwrap();
    let rows: Vec<_> = history
        .iter()
        .map(|row| (row.job, row.end, row.code.as_deref()))
        .collect();
    let failed = Some(dto::End::Failed);
    assert_eq!(
        rows,
        [
            (bad, failed, Some("database")),
            (good, failed, Some("wrong_product"))
        ]
    );
    assert_eq!(store.recent(5).await.unwrap().len(), 1);
    assert_eq!(store.detail(bad).await.unwrap(), None);
}

#[tokio::test]
async fn a_job_that_only_a_newer_version_can_read_goes_on_while_that_one_runs() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let newer = Instance::start(&home(&dir)).unwrap();
    let id = add(&store, newer.id()).await;
    let newer_format = |db: &mut Connection| db.execute("UPDATE jobs SET release = '[]'", []);
    store.call(newer_format).await.unwrap();
    assert!(store.unfinished().await.unwrap().is_empty());
    assert_eq!(store.history().await.unwrap()[0].end, None);
    assert_eq!(store.job_on("c3-1").await.unwrap(), Some(id));
    drop(newer);
    assert!(store.unfinished().await.unwrap().is_empty());
    let row = &store.history().await.unwrap()[0];
    assert_eq!(row.end, Some(dto::End::Failed));
    assert_eq!(store.job_on("c3-1").await.unwrap(), None);
}

/// Opens a home four times at once, as processes that start together do, and keeps it open.
async fn opened_at_once(dir: &tempfile::TempDir) -> Vec<(Store, Option<Mended>)> {
    let open = async || Store::open(&home(dir)).await.unwrap();
    let (a, b, c, d) = tokio::join!(open(), open(), open(), open());
    vec![a, b, c, d]
}

#[tokio::test]
async fn processes_that_start_at_once_on_a_new_home_all_open_it() {
    let dir = tempfile::tempdir().unwrap();
    let stores = opened_at_once(&dir).await;
    assert!(stores.iter().all(|(_, mended)| mended.is_none()));
    let id = add(&stores[0].0, "1-0").await;
    let seen = stores[3].0.unfinished().await.unwrap();
    assert_eq!((seen.len(), seen[0].id), (1, id), "it is one database");
}

#[tokio::test]
async fn processes_that_start_at_once_on_a_damaged_database_mend_it_once() {
    let dir = tempfile::tempdir().unwrap();
    drop(store(&dir).await);
    std::fs::write(home(&dir).database(), vec![0x5A; 8192]).unwrap();
    let stores = opened_at_once(&dir).await;
    let mended = stores.iter().filter(|(_, mended)| mended.is_some());
    assert_eq!(mended.count(), 1);
    let id = add(&stores[0].0, "1-0").await;
    assert_eq!(stores[3].0.unfinished().await.unwrap()[0].id, id);
}

#[tokio::test]
async fn settings_are_none_until_they_are_set() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    assert_eq!(store.settings().await.unwrap(), None);
    let garbled = |db: &mut Connection| {
        db.execute(
            "INSERT INTO settings (only, value) VALUES (1, 'garbled')",
            [],
        )
    };
    store.call(garbled).await.unwrap();
    let error = store.settings().await.unwrap_err();
    assert!(error.is_unreadable_row(), "{error}");
    let settings = Settings {
        theme: "dark".into(),
        port: 7500,
        interfaces: vec![],
        notify: false,
    };
    store.set_settings(&settings).await.unwrap();
    assert_eq!(store.settings().await.unwrap(), Some(settings));
}
