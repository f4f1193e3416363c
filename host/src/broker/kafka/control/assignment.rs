//! Partitions come and go.

use std::sync::Arc;

use super::super::watermark::Epoch;
use super::slot::Slot;
use super::{Control, Place, Position};

impl<M: Clone> Control<M> {
    /// The partition is ours from now on; `committed` is where it was left, or where it begins, and the text beside it.
    /// Answers what is to be committed before anything of it is handed out.
    pub(in crate::broker::kafka) fn assigned(
        &mut self,
        place: &Place,
        committed: Option<(i64, &str)>,
    ) -> Option<Position> {
        self.lost(std::slice::from_ref(place));
        let mut slot = Slot::new(place.clone(), committed, self.bounds.window.messages);
        slot.unproven = self.left.contains(&place.topic);
        let first = slot.first(self.most);
        self.insert(slot);
        first
    }

    pub(super) fn insert(&mut self, mut slot: Slot<M>) -> Epoch {
        let mut epoch = self.last_epoch.following();
        while self.slots.contains_key(&epoch) {
            epoch = epoch.following();
        }
        self.last_epoch = epoch;
        slot.begin(epoch);
        let topic = self.places.entry(Arc::clone(&slot.place.topic));
        topic.or_default().insert(slot.place.partition, epoch);
        self.slots.insert(epoch, slot);
        epoch
    }

    pub(super) fn epoch(&self, topic: &str, partition: i32) -> Option<Epoch> {
        self.places.get(topic)?.get(&partition).copied()
    }

    fn epochs(&self, places: &[Place]) -> Vec<Epoch> {
        places
            .iter()
            .filter_map(|p| self.epoch(&p.topic, p.partition))
            .collect()
    }

    /// These will be taken away: nothing more of them is handed out.
    pub(in crate::broker::kafka) fn leaving(&mut self, places: &[Place]) {
        for epoch in self.epochs(places) {
            if let Some(slot) = self.slots.get_mut(&epoch) {
                slot.leaving = true;
            }
            self.forget(epoch);
        }
    }

    /// How many of their messages are in hand.
    pub(in crate::broker::kafka) fn in_hand(&self, places: &[Place]) -> usize {
        let slots = self
            .epochs(places)
            .into_iter()
            .filter_map(|e| self.slots.get(&e));
        slots.map(|s| s.tracker.in_hand()).sum()
    }

    /// These are no longer ours. Answers what is to be committed before somebody else reads them; what is still in hand
    /// cannot be settled any more.
    pub(in crate::broker::kafka) fn revoked(&mut self, places: &[Place]) -> Vec<Position> {
        let positions = self.positions(places);
        self.lost(places);
        positions
    }

    /// These have not been ours for a while: somebody else may have committed more than we know.
    pub(in crate::broker::kafka) fn lost(&mut self, places: &[Place]) {
        for epoch in self.epochs(places) {
            self.drop_slot(epoch);
        }
    }

    pub(super) fn drop_slot(&mut self, epoch: Epoch) {
        self.forget(epoch);
        if let Some(slot) = self.slots.remove(&epoch)
            && let Some(partitions) = self.places.get_mut(&slot.place.topic)
        {
            partitions.remove(&slot.place.partition);
            if partitions.is_empty() && (slot.identified || slot.unproven) {
                self.left.insert(slot.place.topic);
            }
        }
    }

    pub(super) fn positions(&self, places: &[Place]) -> Vec<Position> {
        let slots = self
            .epochs(places)
            .into_iter()
            .filter_map(|e| self.slots.get(&e));
        let stopping = self.stopping;
        slots
            .filter_map(|s| s.position(stopping, self.most))
            .collect()
    }

    /// Topics named in what the client says are not there: nothing more is taken of them until they are found.
    pub(in crate::broker::kafka) fn missing(&mut self, said: &str) {
        for slot in self.slots.values_mut() {
            slot.missing |= said.contains(&*slot.place.topic);
        }
    }

    /// What is ours of topics that are not there, or of which is not known whether they are those they were.
    pub(in crate::broker::kafka) fn missing_places(&self) -> Vec<Place> {
        let missing = self.slots.values().filter(|slot| slot.is_doubtful());
        missing.map(|slot| slot.place.clone()).collect()
    }

    /// A topic is there. `another` of that name: what is known of the one before is worth nothing, and the client will bring
    /// it from its beginning. Answers what is to be committed of what became ours before that was known.
    pub(in crate::broker::kafka) fn found(&mut self, topic: &str, another: bool) -> Vec<Position> {
        let mut first = Vec::new();
        for epoch in self.epochs(&self.places_of(topic)) {
            let Some(slot) = self.slots.get_mut(&epoch) else {
                continue;
            };
            slot.missing = false;
            slot.identified = true;
            if another {
                let anew = slot.anew();
                self.drop_slot(epoch);
                self.insert(anew);
            } else if std::mem::take(&mut slot.unproven) {
                first.extend(slot.first(self.most));
            }
        }
        self.left.remove(topic);
        first
    }

    /// The topics of what is ours.
    pub(in crate::broker::kafka) fn topics(&self) -> Vec<Arc<str>> {
        let mut topics: Vec<Arc<str>> = Vec::new();
        for slot in self.slots.values() {
            if !topics.contains(&slot.place.topic) {
                topics.push(Arc::clone(&slot.place.topic));
            }
        }
        topics
    }

    /// What is ours of a topic.
    pub(in crate::broker::kafka) fn places_of(&self, topic: &str) -> Vec<Place> {
        let mut places = self.places();
        places.retain(|place| *place.topic == *topic);
        places
    }

    /// What is ours.
    pub(in crate::broker::kafka) fn places(&self) -> Vec<Place> {
        self.slots.values().map(|s| s.place.clone()).collect()
    }
}
