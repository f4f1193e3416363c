//! Stopping under load.

use crate::stage::{RETRY, Stage};
use crate::subject::Subject;

/// Three hosts stop, one after the other, in the middle of the work; each goes on where the one before it stopped.
pub(crate) async fn sigterm_under_load_loses_and_repeats_nothing<B: Subject>(stage: &mut Stage<B>) {
    stage.setup().with(RETRY).write();
    let stopping = async {
        for _ in 0..3 {
            let done = stage.ended().await;
            let host = stage.place.run().await;
            stage.until_ended(done + 500).await;
            let said = stage.stop(host).await;
            assert!(said.contains("stopped"), "{said}");
        }
        stage.place.run().await
    };
    let (work, _host) = stage.under_load(2_000, stopping).await;
    // Exactly once, also where a crash might repeat something: stopping is none.
    stage.check(&work).await;
}
