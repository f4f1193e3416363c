//! Stopping under load.

use futures_util::future::join;
use serde_json::json;
use wharf_tests::count::{Fate, Work, message};

use crate::stage::Stage;
use crate::subject::Subject;

const MESSAGES: usize = 8_000;

/// Three hosts stop, one after the other, in the middle of the work; each goes on where the one before it stopped.
pub(crate) async fn sigterm_under_load_loses_and_repeats_nothing<B: Subject>(stage: &mut Stage<B>) {
    stage.setup().write();
    let mut work = Work::default();
    let order = json!({"do": "accept", "outputs": [{"payload": "done"}]}).to_string();
    for i in 0..MESSAGES {
        work.add(message(format!("m-{i}"), order.clone()), Fate::Output);
    }
    let stopping = async {
        for mark in [500, 1_500, 3_000] {
            let host = stage.place.run().await;
            stage.until_ended(mark).await;
            stage.stop(host).await;
            let under_load = stage.ended().await < MESSAGES as u64;
            assert!(under_load, "it was to stop before the end");
        }
        stage.place.run().await
    };
    let ((), _host) = join(stage.feed(&work, 2_000), stopping).await;
    // Nothing was repeated, also where a crash might have: stopping is none.
    stage.check(&work).await;
}
