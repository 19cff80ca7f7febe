//! Old releases that are passed off as the newest, and false statements which one that is.

use crate::attack::{Attack, attacks};
use crate::forge::STRANGER;
use crate::kit::*;
use crate::scene::{Scene, ended_well};
use airlift_release::SigningKey;
use airlift_wire::ErrorCode::*;
use airlift_wire::freshness::{Nonce, Statement};
use serde_json::Value;
use std::time::Duration;

attacks! { "Freshness";
    a_release_that_is_not_the_newest_is_refused {
        threat: "TUF freeze; THREAT.IMG.EXPIRED.OFFLINE",
        attacker: "Offers a release newer than the one that runs and older than the newest.",
        device: "Refuses what is older than a trusted key stated over its nonce, and shows who offered it.",
        code: Some(Stale),
        mutant: "stale-releases-are-fine",
    }
    a_device_can_require_a_statement {
        threat: "TUF freeze; THREAT.IMG.EXPIRED.OFFLINE",
        attacker: "Keeps statements from the device and offers an old release.",
        device: "If it is so configured, takes nothing without a statement.",
        code: Some(FreshnessRequired),
        mutant: "nobody-needs-a-statement",
    }
    a_statement_of_yesterday_is_refused {
        threat: "TUF freeze",
        attacker: "Plays a statement again, or holds it back until it is no longer true.",
        device: "Takes one answer to a nonce, within a minute.",
        code: Some(BadNonce),
        mutant: "nonces-never-age",
    }
    a_statement_for_another_device_is_refused {
        threat: "TUF freeze",
        attacker: "Uses a statement that was made for another device, or for a nonce of its own making.",
        device: "Knows its own nonces by a secret that it draws at each start.",
        code: Some(BadNonce),
        mutant: "any-nonce-will-do",
    }
    a_statement_to_another_device_is_refused {
        threat: "TUF freeze",
        attacker: "Hands the nonce of a device on, as another device that only an old release fits, and has that stated to be the newest.",
        device: "Takes what is stated to itself: the host names the device that it is about to update.",
        code: Some(BadNonce),
        mutant: "statements-to-anybody",
    }
    a_statement_by_a_stranger_is_refused {
        threat: "TUF freeze",
        attacker: "States itself which release is the newest.",
        device: "Believes trusted keys only.",
        code: Some(UnknownKey),
        mutant: "any-key-will-do",
    }
    a_release_is_no_statement {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Presents a signed release as a statement.",
        device: "Checks the signature over the context of statements.",
        code: Some(BadSignature),
        mutant: "signature-without-a-context",
    }
    a_statement_about_another_product_is_refused {
        threat: "TUF mix-and-match",
        attacker: "Has a statement about another product of the same maker signed over the nonce.",
        device: "Requires its own product.",
        code: Some(WrongProduct),
        mutant: "statements-about-anything",
    }
    a_host_that_knows_less_undoes_nothing {
        threat: "TUF freeze",
        attacker: "Has an ill-informed host state a lower number after another one knew better.",
        device: "Keeps the highest that was stated; only the root takes one back.",
        code: Some(Stale),
        mutant: "the-last-statement-counts",
    }
    false_statements_keep_no_update_out {
        threat: "TUF slow retrieval",
        attacker: "Sends statement after statement, so that no check is left for a release.",
        device: "Checks five statements a minute, and ten releases whatever was stated.",
        code: Some(RateLimited),
        mutant: "false-statements-use-up-the-checks",
    }
    a_number_too_high_does_not_last {
        threat: "TUF fast-forward",
        attacker: "States the highest number with a stolen key, so that no update is new enough.",
        device: "Believes a statement for ten minutes, and never beyond a restart.",
        code: Some(Stale),
        mutant: "statements-last-for-ever",
    }
}

async fn nonce(scene: &Scene) -> Nonce {
    let answer = scene.bench.client().get("/v1/nonce").await.unwrap().json();
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

fn signed(signer: &SigningKey, statement: &Statement<'_>) -> Vec<u8> {
    signer.state_newest(statement).unwrap().to_vec()
}

/// Posts a statement; what the device says.
async fn post(scene: &Scene, message: &[u8]) -> Value {
    let len = message.len();
    let head = format!(
        "POST /v1/freshness HTTP/1.1\r\nContent-Type: application/cose\r\n\
         Content-Length: {len}\r\n\r\n"
    );
    let answer = scene.bench.client().request(&head, message).await.unwrap();
    answer.json()
}

async fn state_newest(scene: &Scene, newest: u32) -> Value {
    let statement = statement(nonce(scene).await, newest);
    post(scene, &signed(&key(), &statement)).await
}

/// A statement is refused with the code of the attack; nothing counts that did not before.
async fn refuse(scene: &Scene, attack: &Attack, message: &[u8]) {
    let before = info(&scene.bench.client()).await["freshness"].clone();
    let answer = post(scene, message).await;
    assert_eq!(answer["code"], attack.code(), "{answer}");
    assert_eq!(info(&scene.bench.client()).await["freshness"], before);
}

fn a_release_that_is_not_the_newest_is_refused(attack: &Attack) {
    for scene in [Scene::new(), Scene::careful()] {
        assert_eq!(scene.run(state_newest(&scene, 9))["newest"], 9);
        let old = release("2.0.0", 8);
        scene.bench.host().add(&old);
        scene.refuses(attack, old.envelope());
        let offer = scene.run(info(&scene.bench.client()))["stale_offer"].clone();
        assert_eq!(
            (&offer["offered"], &offer["newest"]),
            (&8.into(), &9.into())
        );
        assert_eq!(offer["by"], "10.0.0.1");
        ended_well(&scene.offer(&release("3.0.0", 9)));
    }
}

fn a_device_can_require_a_statement(attack: &Attack) {
    let scene = Scene::careful();
    let next = release("2.0.0", 6);
    scene.bench.host().add(&next);
    scene.refuses(attack, next.envelope());
    scene.run(state_newest(&scene, 6));
    ended_well(&scene.offer(&next));
}

fn a_statement_of_yesterday_is_refused(attack: &Attack) {
    let scene = Scene::careful();
    scene.run(async {
        let taken = signed(&key(), &statement(nonce(&scene).await, 6));
        assert_eq!(post(&scene, &taken).await["newest"], 6);
        refuse(&scene, attack, &taken).await;
        let held_back = signed(&key(), &statement(nonce(&scene).await, 7));
        scene.bench.scheduler().sleep(Duration::from_secs(61)).await;
        refuse(&scene, attack, &held_back).await;
    });
    scene.is_untouched();
    ended_well(&scene.offer(&release("2.0.0", 6)));
}

fn a_statement_for_another_device_is_refused(attack: &Attack) {
    let scene = Scene::careful();
    scene.run(async {
        let ours = nonce(&scene).await;
        let mut other = ours;
        other.0[31] ^= 1;
        refuse(&scene, attack, &signed(&key(), &statement(other, 6))).await;
        refuse(
            &scene,
            attack,
            &signed(&key(), &statement(Nonce([0; 32]), 6)),
        )
        .await;
    });
    // Of the same device, before it restarted.
    let before = scene.run(nonce(&scene));
    scene.restart();
    scene.run(refuse(
        &scene,
        attack,
        &signed(&key(), &statement(before, 6)),
    ));
    scene.is_untouched();
}

fn a_statement_to_another_device_is_refused(attack: &Attack) {
    let scene = Scene::careful();
    scene.run(async {
        let mut relayed = statement(nonce(&scene).await, 6);
        relayed.device = "c3-000000000002";
        refuse(&scene, attack, &signed(&key(), &relayed)).await;
    });
    let old = release("2.0.0", 6);
    scene.bench.host().add(&old);
    let lines = scene.post(old.envelope());
    assert_eq!(code(&lines), "freshness_required");
    scene.is_untouched();
}

fn a_statement_by_a_stranger_is_refused(attack: &Attack) {
    let scene = Scene::careful();
    let stranger = SigningKey::from_seed(&STRANGER);
    scene.run(async {
        let theirs = signed(&stranger, &statement(nonce(&scene).await, 6));
        refuse(&scene, attack, &theirs).await;
    });
    scene.is_untouched();
}

fn a_release_is_no_statement(attack: &Attack) {
    let scene = Scene::careful();
    let small = crate::forge::sign(&RELEASE, &crate::forge::cbor::map(&[]));
    scene.run(refuse(&scene, attack, &small));
    scene.is_untouched();
}

fn a_statement_about_another_product_is_refused(attack: &Attack) {
    let scene = Scene::careful();
    scene.run(async {
        let mut other = statement(nonce(&scene).await, 6);
        other.product = "another";
        refuse(&scene, attack, &signed(&key(), &other)).await;
    });
    scene.is_untouched();
}

fn a_host_that_knows_less_undoes_nothing(attack: &Attack) {
    let scene = Scene::careful();
    scene.run(async {
        assert_eq!(state_newest(&scene, 9).await["newest"], 9);
        assert_eq!(state_newest(&scene, 6).await["newest"], 9);
    });
    let old = release("2.0.0", 6);
    scene.bench.host().add(&old);
    scene.refuses(attack, old.envelope());
    // A release key that was stolen states too much; the root takes it back.
    scene.run(async {
        let truth = signed(&root(), &statement(nonce(&scene).await, 6));
        assert_eq!(post(&scene, &truth).await["newest"], 6);
    });
    ended_well(&scene.offer(&old));
}

fn false_statements_keep_no_update_out(attack: &Attack) {
    let scene = Scene::new();
    let stranger = SigningKey::from_seed(&STRANGER);
    scene.run(async {
        let theirs = signed(&stranger, &statement(nonce(&scene).await, 6));
        for n in 0..30 {
            let answer = post(&scene, &theirs).await;
            let expected = if n < 5 { "unknown_key" } else { attack.code() };
            assert_eq!(answer["code"], expected, "{n}");
        }
    });
    scene.is_untouched();
    ended_well(&scene.offer(&release("2.0.0", 6)));
}

fn a_number_too_high_does_not_last(attack: &Attack) {
    let scene = Scene::new();
    let next = release("2.0.0", 6);
    scene.bench.host().add(&next);
    for restart in [true, false] {
        scene.run(state_newest(&scene, u32::MAX));
        scene.refuses(attack, next.envelope());
        if restart {
            scene.restart();
        } else {
            scene.run(scene.bench.scheduler().sleep(Duration::from_secs(601)));
        }
    }
    ended_well(&scene.post(next.envelope()));
}
