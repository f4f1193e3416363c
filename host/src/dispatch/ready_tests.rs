use std::sync::Arc;

use super::*;

fn all(ready: &Ready<u32>, worker: usize) -> Vec<u32> {
    std::iter::from_fn(|| match ready.try_pop(worker) {
        Next::Job(job) => Some(job),
        Next::Nothing | Next::Closed => None,
    })
    .collect()
}

#[test]
fn nothing_waits_behind_a_slow_job_while_a_worker_is_idle() {
    let ready = Ready::new(2);
    ready.extend((0..40).collect());
    assert_eq!(ready.try_pop(0), Next::Job(0));
    // The first one hangs in its job, with a full tray.
    assert_eq!(ready.trays[0].0.lock().len(), TRAY);
    let mut taken = all(&ready, 1);
    taken.sort_unstable();
    assert_eq!(taken, (1..40).collect::<Vec<_>>());
}

#[test]
fn a_worker_alone_takes_them_in_order() {
    let ready = Ready::new(1);
    ready.extend((0..40).collect());
    ready.push(40);
    assert_eq!(all(&ready, 0), (0..=40).collect::<Vec<_>>());
}

#[test]
fn the_last_jobs_are_left_to_whoever_comes() {
    let ready = Ready::new(4);
    ready.extend((0..4).collect());
    for worker in 0..4 {
        assert_eq!(ready.try_pop(worker), Next::Job(worker as u32));
        assert!(ready.trays[worker].0.lock().is_empty());
    }
}

#[test]
fn what_waits_is_let_go_of_when_it_closes() {
    let ready = Ready::new(2);
    let job = Arc::new(());
    ready.extend(vec![Arc::clone(&job); 40]);
    let first = ready.try_pop(0);
    assert!(!ready.trays[0].0.lock().is_empty());
    ready.close();
    drop(first);
    ready.push(Arc::clone(&job));
    ready.extend(vec![Arc::clone(&job); 3]);
    assert_eq!(Arc::strong_count(&job), 1);
    assert_eq!(
        [ready.try_pop(0), ready.try_pop(1)],
        [Next::Closed, Next::Closed]
    );
}

#[tokio::test]
async fn every_waiting_worker_is_woken_for_a_job_and_by_the_end() {
    let ready = Arc::new(Ready::new(3));
    let wait = |worker| {
        let ready = Arc::clone(&ready);
        tokio::spawn(async move {
            let mut taken = 0;
            while let Some(()) = ready.pop(worker).await {
                taken += 1;
                // Whoever has a job keeps it until the others have theirs.
                tokio::task::yield_now().await;
            }
            taken
        })
    };
    let workers = [wait(0), wait(1), wait(2)];
    tokio::task::yield_now().await;
    ready.extend(vec![(); 3]);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    ready.close();
    for worker in workers {
        assert_eq!(worker.await.expect("no panic"), 1);
    }
}
