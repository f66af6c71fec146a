//! Things that are made when the first cell asks for them; the others wait for it, each only for what it needs itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::Obstacle;

type Slot<V> = Arc<OnceLock<Result<V, Obstacle>>>;

/// Made values by key. A failure is kept as well: it would only be the same again.
pub(crate) struct OnceByKey<K, V>(Mutex<HashMap<K, Slot<V>>>);

impl<K, V> Default for OnceByKey<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> OnceByKey<K, V> {
    pub(crate) fn get(&self, key: K, make: impl FnOnce() -> Result<V, Obstacle>) -> Result<V, Obstacle> {
        // The table's lock is not held while the value is made.
        let slot = Arc::clone(self.0.lock().entry(key).or_default());
        slot.get_or_init(make).clone()
    }
}
