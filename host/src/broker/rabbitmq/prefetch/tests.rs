use super::*;

fn seen(count: usize, bytes: usize) -> Sizes {
    let mut sizes = Sizes::default();
    for _ in 0..count {
        sizes.saw(bytes);
    }
    sizes
}

#[test]
fn little_is_asked_for_until_sizes_are_known() {
    assert_eq!(seen(0, 0).wanted(FIRST, 1000, 1 << 30), 32);
    assert_eq!(seen(15, 1).wanted(FIRST, 1000, 1 << 30), 32);
    assert_eq!(seen(16, 1).wanted(FIRST, 1000, 1 << 30), 2000);
    assert_eq!(seen(0, 0).wanted(FIRST, 4, 1 << 30), 8);
    assert_eq!(seen(0, 0).better(32, 1000, 1), None);
}

#[test]
fn the_window_is_filled_twice_in_messages_or_in_bytes() {
    assert_eq!(seen(100, 1 << 10).wanted(FIRST, 32, 1 << 20), 64);
    assert_eq!(seen(100, 1 << 18).wanted(FIRST, 32, 1 << 20), 8);
    assert_eq!(seen(100, 1 << 30).wanted(FIRST, 32, 1 << 20), 1);
    assert_eq!(seen(100, 0).wanted(FIRST, 65_536, usize::MAX), u16::MAX);
}

#[test]
fn small_differences_are_let_be() {
    let sizes = seen(100, 1 << 10);
    assert_eq!(sizes.better(64, 32, 1 << 20), None);
    assert_eq!(sizes.better(33, 32, 1 << 20), None);
    assert_eq!(sizes.better(32, 32, 1 << 20), Some(64));
    assert_eq!(sizes.better(128, 32, 1 << 20), Some(64));
    assert_eq!(seen(100, 1 << 30).better(1, 32, 1), None);
}

#[test]
fn messages_that_grow_are_noticed() {
    let mut sizes = seen(10_000, 100);
    assert_eq!(sizes.wanted(FIRST, 500, 1 << 20), 1000);
    for _ in 0..64 {
        sizes.saw(1 << 20);
    }
    assert!(sizes.wanted(FIRST, 500, 1 << 20) <= 4);
}
