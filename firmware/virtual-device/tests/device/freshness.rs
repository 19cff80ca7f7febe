//! A device that is told which release is the newest.

use crate::kit::*;
use airlift_release::{Release, SigningKey};
use airlift_updater::SlotId;
use airlift_virtual_device::Factory;
use airlift_virtual_device::deterministic::Bench;
use airlift_wire::Digest;
use airlift_wire::freshness::{Nonce, Statement};
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

/// A device that runs sequence 1.
fn device(required: bool) -> (Bench, airlift_virtual_device::nor::SharedNor) {
    let app = app("0.9.0");
    let old = release("1.0.0", 1);
    let mut factory = Factory::new(PRODUCT, "bench", trust());
    factory.app = Some(&app);
    factory.installed = Some((SlotId::Ota0, &old));
    factory.freshness_required = required;
    bench(factory.build().unwrap(), settings())
}

async fn nonce(bench: &Bench) -> Nonce {
    let answer = bench.client().get("/v1/nonce").await.unwrap();
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(answer["schema"], 1);
    answer["nonce"].as_str().unwrap().parse().unwrap()
}

fn statement(nonce: Nonce, newest: u32) -> Statement<'static> {
    Statement {
        product: PRODUCT,
        newest,
        nonce,
        release: None,
        device: "c3-000000000001",
    }
}

/// Sends a message to `/v1/freshness`; its status and what the device says.
async fn post(bench: &Bench, message: &[u8]) -> (u16, Value) {
    let len = message.len();
    let head = format!(
        "POST /v1/freshness HTTP/1.1\r\nHost: d\r\nContent-Type: application/cose\r\n\
         Content-Length: {len}\r\n\r\n"
    );
    let answer = bench.client().request(&head, message).await.unwrap();
    (answer.status, answer.json())
}

/// Asks for a nonce and states over it; what the device says.
async fn state_newest(bench: &Bench, newest: u32) -> (u16, Value) {
    let statement = statement(nonce(bench).await, newest);
    post(bench, &key().state_newest(&statement).unwrap()).await
}

async fn refused(bench: &Bench, release: &Release) -> String {
    let lines = update(bench, release).await;
    code(&lines).to_owned()
}

async fn a_while(bench: &Bench, seconds: u64) {
    bench.scheduler().sleep(Duration::from_secs(seconds)).await;
}

#[test]
fn a_device_that_requires_a_statement_takes_nothing_without_one_and_the_newest_with_one() {
    let (bench, nor) = device(true);
    let new = release("2.0.0", 2);
    bench.run(async {}).unwrap();
    let before = nor.snapshot();
    let script = async {
        let says = info(&bench.client()).await;
        assert_eq!(says["freshness"]["required"], true);
        assert_eq!(says["freshness"]["newest"], Value::Null);
        assert_eq!(refused(&bench, &new).await, "freshness_required");
        let says = info(&bench.client()).await;
        let offer = &says["stale_offer"];
        assert_eq!(offer["release"], new.id().to_string());
        assert_eq!(offer["offered"], 2);
        assert_eq!(offer["newest"], Value::Null);
        assert_eq!(offer["by"], "10.0.0.1");
    };
    bench.run(script).unwrap();
    assert!(nor.snapshot() == before, "a refusal writes nothing");
    assert_eq!(bench.host().requests(), [], "and fetches nothing");
    let script = async {
        let (status, answer) = state_newest(&bench, 2).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(
            (&answer["schema"], &answer["newest"]),
            (&1.into(), &2.into())
        );
        assert_eq!(info(&bench.client()).await["freshness"]["newest"], 2);
        update_and_settle(&bench, &new).await
    };
    let says = bench.run(script).unwrap();
    assert_eq!(says["running"]["version"], "2.0.0");
    assert_eq!(says["freshness"]["required"], true, "kept over the update");
    assert_eq!(says["stale_offer"], Value::Null);
}

#[test]
fn an_old_release_that_is_offered_instead_of_the_newest_is_refused_and_shown() {
    for required in [true, false] {
        let (bench, nor) = device(required);
        bench.run(async {}).unwrap();
        let before = nor.snapshot();
        let old = release("3.0.0", 3);
        let script = async {
            assert_eq!(state_newest(&bench, 5).await.0, 200);
            bench.host().add(&old);
            let stranger: IpAddr = "10.0.0.66".parse().unwrap();
            let lines = bench.client_at(stranger).update(&old, "").await.unwrap();
            assert_eq!(code(&json(lines.all().await)), "stale");
            let says = info(&bench.client()).await;
            let offer = &says["stale_offer"];
            assert_eq!(offer["offered"], 3);
            assert_eq!(offer["newest"], 5);
            assert_eq!(offer["by"], "10.0.0.66");
            assert_eq!(says["last_update"], Value::Null);
            assert!(nor.snapshot() == before);
            update_and_settle(&bench, &release("5.0.0", 5)).await
        };
        let says = bench.run(script).unwrap();
        assert_eq!(says["running"]["version"], "5.0.0");
    }
}

#[test]
fn of_two_releases_with_the_newest_sequence_only_the_stated_one_is_taken() {
    let (bench, _) = device(true);
    let (one, other) = (release("5.0.0", 5), release("5.0.1", 5));
    let script = async {
        let mut stated = statement(nonce(&bench).await, 5);
        stated.release = Some(one.id());
        let (status, _) = post(&bench, &key().state_newest(&stated).unwrap()).await;
        assert_eq!(status, 200);
        assert_eq!(refused(&bench, &other).await, "sequence_conflict");
        update_and_settle(&bench, &one).await
    };
    assert_eq!(bench.run(script).unwrap()["running"]["version"], "5.0.0");
}

#[test]
fn a_release_above_the_stated_one_is_newer_still() {
    let (bench, _) = device(true);
    let script = async {
        assert_eq!(state_newest(&bench, 2).await.0, 200);
        update_and_settle(&bench, &release("3.0.0", 3)).await
    };
    assert_eq!(bench.run(script).unwrap()["running"]["version"], "3.0.0");
}

#[test]
fn a_statement_of_yesterday_is_worth_nothing() {
    let (bench, _) = device(true);
    let script = async {
        let asked = nonce(&bench).await;
        let message = key().state_newest(&statement(asked, 2)).unwrap();
        assert_eq!(post(&bench, &message).await.0, 200);
        // Played again: answered once already.
        let (status, answer) = post(&bench, &message).await;
        assert_eq!((status, &answer["code"]), (403, &"bad_nonce".into()));

        // Answered too late.
        let asked = nonce(&bench).await;
        a_while(&bench, 61).await;
        let late = key().state_newest(&statement(asked, 9)).unwrap();
        assert_eq!(post(&bench, &late).await.1["code"], "bad_nonce");

        // The one that counted does so for ten minutes.
        a_while(&bench, 600).await;
        assert_eq!(
            info(&bench.client()).await["freshness"]["newest"],
            Value::Null
        );
        assert_eq!(
            refused(&bench, &release("2.0.0", 2)).await,
            "freshness_required"
        );
    };
    bench.run(script).unwrap();
}

#[test]
fn a_statement_does_not_outlive_a_restart_and_neither_does_a_nonce() {
    let (bench, _) = device(true);
    let asked = bench.run(async {
        // A key that was stolen can keep a device from its updates until it restarts.
        assert_eq!(state_newest(&bench, u32::MAX).await.0, 200);
        assert_eq!(refused(&bench, &release("2.0.0", 2)).await, "stale");
        nonce(&bench).await
    });
    let message = key().state_newest(&statement(asked.unwrap(), 2)).unwrap();
    bench.power_off();
    bench.power_on();
    let script = async {
        assert_eq!(post(&bench, &message).await.1["code"], "bad_nonce");
        assert_eq!(state_newest(&bench, 2).await.0, 200);
        update_and_settle(&bench, &release("2.0.0", 2)).await
    };
    assert_eq!(bench.run(script).unwrap()["running"]["version"], "2.0.0");
}

#[test]
fn a_statement_for_another_device_product_or_by_a_stranger_is_refused() {
    let (bench, _) = device(true);
    let script = async {
        let made_up = Nonce(Digest::of(b"of another device").0);
        let message = key().state_newest(&statement(made_up, 2)).unwrap();
        assert_eq!(post(&bench, &message).await.1["code"], "bad_nonce");

        // Over a nonce that is ours, and meant for another device.
        let mut other = statement(nonce(&bench).await, 2);
        other.device = "c3-000000000002";
        let message = key().state_newest(&other).unwrap();
        assert_eq!(post(&bench, &message).await.1["code"], "bad_nonce");

        let mut other = statement(nonce(&bench).await, 2);
        other.product = "another";
        let message = key().state_newest(&other).unwrap();
        assert_eq!(post(&bench, &message).await.1["code"], "wrong_product");

        // Five are checked in a minute.
        a_while(&bench, 61).await;
        let asked = nonce(&bench).await;
        let stranger = SigningKey::from_seed(&[3; 32]);
        let message = stranger.state_newest(&statement(asked, 2)).unwrap();
        let (status, answer) = post(&bench, &message).await;
        assert_eq!((status, &answer["code"]), (403, &"unknown_key".into()));

        let mut changed = key().state_newest(&statement(asked, 2)).unwrap().to_vec();
        let last = changed.len() - 1;
        changed[last] ^= 1;
        assert_eq!(post(&bench, &changed).await.1["code"], "bad_signature");
        let cut = key().state_newest(&statement(asked, 2)).unwrap();
        let (status, answer) = post(&bench, &cut[..cut.len() - 1]).await;
        assert_eq!((status, &answer["code"]), (400, &"bad_statement".into()));
        assert_eq!(post(&bench, &[0; 321]).await.0, 413);
        assert_eq!(post(&bench, &[]).await.0, 413);

        // A release is no statement, whoever signed it.
        let (_, answer) = post(&bench, release("2.0.0", 2).envelope()).await;
        assert_eq!(answer["code"], "bad_signature");

        // None of them cost the nonce its answer, and none of them counts.
        assert_eq!(
            info(&bench.client()).await["freshness"]["newest"],
            Value::Null
        );
        let good = key().state_newest(&statement(asked, 2)).unwrap();
        assert_eq!(post(&bench, &good).await.0, 200);
    };
    bench.run(script).unwrap();
}

#[test]
fn a_host_that_knows_less_does_not_undo_what_another_stated_but_the_root_does() {
    let (bench, _) = device(true);
    let script = async {
        assert_eq!(state_newest(&bench, 5).await.1["newest"], 5);
        assert_eq!(state_newest(&bench, 3).await.1["newest"], 5);
        assert_eq!(refused(&bench, &release("3.0.0", 3)).await, "stale");
        let stated = statement(nonce(&bench).await, 3);
        let (_, answer) = post(&bench, &root().state_newest(&stated).unwrap()).await;
        assert_eq!(answer["newest"], 3);
        update_and_settle(&bench, &release("3.0.0", 3)).await
    };
    assert_eq!(bench.run(script).unwrap()["running"]["version"], "3.0.0");
}

#[test]
fn two_hosts_each_have_their_own_nonce_and_a_flood_of_questions_takes_none_away() {
    let (bench, _) = device(true);
    let script = async {
        let first = nonce(&bench).await;
        let second = nonce(&bench).await;
        for _ in 0..100 {
            nonce(&bench).await;
        }
        for (asked, newest) in [(second, 2), (first, 2)] {
            let message = key().state_newest(&statement(asked, newest)).unwrap();
            assert_eq!(post(&bench, &message).await.0, 200);
        }
    };
    bench.run(script).unwrap();
}

#[test]
fn five_statements_are_checked_in_a_minute() {
    let (bench, _) = device(true);
    let script = async {
        let asked = nonce(&bench).await;
        let stranger = SigningKey::from_seed(&[3; 32]);
        let message = stranger.state_newest(&statement(asked, 2)).unwrap();
        for _ in 0..5 {
            assert_eq!(post(&bench, &message).await.1["code"], "unknown_key");
        }
        let (status, answer) = post(&bench, &message).await;
        assert_eq!((status, &answer["code"]), (429, &"rate_limited".into()));
        a_while(&bench, 61).await;
        assert_eq!(state_newest(&bench, 2).await.0, 200);
    };
    bench.run(script).unwrap();
}

#[test]
fn a_web_page_gets_no_nonce_and_states_nothing() {
    let (bench, _) = device(true);
    let script = async {
        for head in [
            "GET /v1/nonce HTTP/1.1\r\nOrigin: http://evil\r\n\r\n",
            "POST /v1/freshness HTTP/1.1\r\nOrigin: http://evil\r\nContent-Length: 0\r\n\r\n",
        ] {
            let answer = bench.client().request(head, &[]).await.unwrap();
            assert_eq!(answer.status, 403);
        }
        for head in [
            "POST /v1/nonce HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "GET /v1/freshness HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(bench.client().request(head, &[]).await.unwrap().status, 405);
        }
        let head = "POST /v1/freshness HTTP/1.1\r\nContent-Length: 1\r\n\r\n";
        let answer = bench.client().request(head, b"x").await.unwrap();
        assert_eq!(answer.status, 415);
    };
    bench.run(script).unwrap();
}
