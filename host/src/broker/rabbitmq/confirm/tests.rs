use super::*;

fn publish(key: &str, id: &str) -> Publish<'static> {
    Publish {
        exchange: "e".into(),
        routing_key: key.into(),
        properties: BasicProperties::default().with_message_id(id.into()),
        payload: b"",
    }
}

fn back(key: &str, id: &str) -> Returned {
    Returned {
        exchange: "e".into(),
        routing_key: key.into(),
        properties: BasicProperties::default().with_message_id(id.into()),
        reason: "312 NO_ROUTE".to_owned(),
    }
}

fn fates(batch: &[Publish<'_>], back: &[Returned]) -> Vec<bool> {
    let mut outcomes = vec![Outcome::Taken; batch.len()];
    returned(batch, back, &mut outcomes);
    let came_back = |o: &Outcome| matches!(o, Outcome::Returned(r) if r == "312 NO_ROUTE");
    outcomes.iter().map(came_back).collect()
}

#[test]
fn what_came_back_is_found_by_what_it_is() {
    let batch = [publish("a", "1"), publish("b", "2"), publish("b", "3")];
    assert_eq!(fates(&batch, &[]), [false, false, false]);
    assert_eq!(fates(&batch, &[back("b", "3")]), [false, false, true]);
    let two = [back("b", "3"), back("a", "1")];
    assert_eq!(fates(&batch, &two), [true, false, true]);
}

#[test]
fn what_fits_nothing_stands_for_all_that_went_its_way() {
    let batch = [publish("a", "1"), publish("b", "2"), publish("b", "3")];
    assert_eq!(fates(&batch, &[back("b", "?")]), [false, true, true]);
}
