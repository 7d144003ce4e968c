//! Holding, taking and clearing, each journalled where a restart has to know of it.

use crate::{
    Lsn, StoreError,
    core::Core,
    held::{HeldKey, Hold, ShelfId},
    journal::op::{HOLD_HEADER, HeldOp},
};

impl Core {
    /// Holds a record. There is no position to wait for where it is transient.
    pub(crate) fn hold(&mut self, hold: &Hold<'_>) -> Result<(HeldKey, Option<Lsn>), StoreError> {
        let body_bytes: usize = hold.body.iter().map(|part| part.len()).sum();
        self.check_room(body_bytes, body_bytes + HOLD_HEADER)?;
        let number = self.shelves.next_number(hold.shelf);
        if !hold.transient {
            self.pending.hold(hold, number);
        }
        let key = self.shelves.hold(hold, number);
        Ok((key, (!hold.transient).then_some(Lsn(self.pending.end))))
    }

    /// Takes a record off its shelf: it is done with, in the group of what is done with it. False where it is not
    /// there (any more).
    pub(crate) fn take(&mut self, shelf: ShelfId, key: HeldKey, body_bytes: u64) -> bool {
        match self.shelves.take(shelf, key, body_bytes) {
            None => false,
            Some(durable) => {
                if durable {
                    self.pending.take_held(shelf, key, body_bytes);
                }
                true
            }
        }
    }

    pub(crate) fn clear_shelf(&mut self, shelf: ShelfId) -> u64 {
        let Some(up_to) = self.shelves.by_id.get(&shelf).map(|shelf| shelf.max_number) else { return 0 };
        self.pending.clear_shelf(shelf, up_to, false);
        self.shelves.clear(shelf)
    }

    pub(crate) fn delete_shelf(&mut self, shelf: ShelfId) -> u64 {
        let Some(up_to) = self.shelves.by_id.get(&shelf).map(|shelf| shelf.max_number) else { return 0 };
        self.pending.clear_shelf(shelf, up_to, true);
        self.shelves.delete(shelf)
    }

    pub(crate) fn replay_held(&mut self, op: HeldOp<'_>) {
        match op {
            HeldOp::Hold { shelf, key, tag, flags, body } => {
                // It is here twice when no manifest was readable.
                if !self.shelves.shelf(shelf).lives(key) {
                    let body = &[body][..];
                    let hold = Hold { shelf, due: key.due, tag, flags, transient: false, body };
                    self.shelves.hold(&hold, key.number);
                }
            }
            HeldOp::Take { shelf, taken } => {
                for (due, number, body_bytes) in taken {
                    self.shelves.take(shelf, HeldKey { due, number }, body_bytes);
                }
            }
            HeldOp::Clear { shelf, up_to } => {
                self.shelves.shelf(shelf).max_number = up_to;
                self.shelves.clear(shelf);
            }
            HeldOp::Delete { shelf } => {
                self.shelves.delete(shelf);
            }
        }
    }
}
