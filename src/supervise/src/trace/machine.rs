//! What is to be done with a thread that has stopped: its state and the event in, the next state and the action out. Pure;
//! the tracer knows the rest.
//!
//! ```text
//!               filter                its own call has failed
//!   Running ──────────────▶ Trying ───────────────────────────▶ Waiting ──┐ others are at it
//!      ▲ ▲                    │ it has not                         │ ▲ ◀────┘
//!      │ └────────────────────┘           nothing in its memory yet│ │
//!      │                                                           ▼ │
//!      └─────────────────────── Inside ◀──────────────────────── Mapping
//!               the parasite's end
//! ```
//! Whatever it is doing, a thread may be stopped and continued by signals, end, or be replaced by another thread's exec.

/// What one thread is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// What it likes.
    #[default]
    Running,
    /// Its own call, at whose end we look; or nothing, in the place of that call.
    Trying,
    /// Nothing: it waits, before its call or at the end of that, until it can go on an errand.
    Waiting { before: bool },
    /// A call of ours in the place of its own, which is seen this many times more.
    Mapping { what: Memory, more: u8 },
    /// An errand, while its signals wait.
    Inside,
}

/// What an errand needs, once in an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// The parasite.
    Code,
    /// A stack for each thread that is inside at a time.
    Stacks,
}

/// Why it has stopped, or what else was found out about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The filter has stopped a call.
    Called(Interest),
    /// A call begins or ends.
    AtCall,
    /// How its own call has ended: it has to go on an errand, or not.
    Looked { fails: bool },
    /// What it has for an errand.
    Found(Room),
    /// A signal is about to be delivered.
    Signal(i32),
    /// A signal has stopped its process.
    GroupStop,
    /// A signal stops its process, which waits for this thread to stop.
    Stopping,
    /// It is new, was interrupted, has started a thread or a process, or its process goes on.
    Passing,
    /// It is the only thread of its process that is left, by whatever number it had before.
    Executed,
}

/// What a call that was stopped is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Nothing.
    None,
    /// The filter was not ours.
    Foreign,
    /// The question whether there is a supervisor, or one of the parasite's.
    Question,
    /// The parasite is at its end, if it is one.
    End,
    /// The program may make it, and we look at its end.
    Try,
    /// We make it.
    Replace,
    /// It concerns another tracer.
    Tracing,
}

/// What a thread that is to go on an errand has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Everything.
    Ready,
    /// Not this.
    Without(Memory),
    /// Another thread is at it, or all stacks are in use.
    Busy,
    /// It cannot be had.
    Impossible,
}

/// What to do with the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It goes on, with this signal, if not 0.
    Resume(i32),
    /// The same, to the beginning or end of its next call.
    ResumeToCall(i32),
    /// It stays stopped until its process goes on.
    Listen,
    /// It stays where it is until something else happens.
    Leave,
    /// It goes on, its call refused with ENOSYS: what the kernel says where there is no tracer.
    Refuse,
    /// It goes on, its question answered.
    Answer,
    /// Its registers are remembered, and it goes on to the end of its call.
    Try,
    /// Its registers are remembered; see what it has: [`Event::Found`].
    Replace,
    /// See how its call has ended: [`Event::Looked`].
    Look,
    /// See what it has: [`Event::Found`].
    Find,
    /// It maps memory, while its signals wait.
    Map(Memory),
    /// That has ended: [`Event::Found`].
    Mapped(Memory),
    /// It goes on its errand.
    Enter,
    /// See what the parasite asks for, and do it; it goes on.
    Serve,
    /// It gets everything back, with the answer.
    Finish,
    /// It gets everything back, with the answer of its own call.
    GiveUp,
    /// It gets everything back, and is to make its call once more.
    Again,
    /// See who is to be traced by whom.
    Hand,
    /// Nothing is known about it any more, and it goes on.
    Forget,
}

/// One step.
pub(crate) fn step(state: State, event: Event) -> (State, Action) {
    use State::{Inside, Mapping, Running, Trying, Waiting};
    // A call of ours goes on to its end, whatever comes between.
    let resume = |signal| match state {
        Trying | Mapping { .. } => Action::ResumeToCall(signal),
        Running | Waiting { .. } | Inside => Action::Resume(signal),
    };
    match (state, event) {
        (_, Event::Executed) => (Running, Action::Forget),
        (_, Event::Signal(signal)) => (state, resume(signal)),
        (_, Event::GroupStop) => (state, Action::Listen),
        // It may wait for one that has stopped already, and so would keep its process from being stopped for ever.
        (Waiting { .. }, Event::Stopping) => (Running, Action::Again),

        (Inside, Event::Called(Interest::Question)) => (Inside, Action::Serve),
        (Inside, Event::Called(Interest::End)) => (Running, Action::Finish),
        // Its own calls, which the kernel answers.
        (Inside, Event::Called(_)) => (Inside, Action::Resume(0)),
        (_, Event::Called(interest)) => match interest {
            Interest::None => (Running, Action::Resume(0)),
            Interest::Foreign => (Running, Action::Refuse),
            Interest::Question | Interest::End => (Running, Action::Answer),
            Interest::Try => (Trying, Action::Try),
            Interest::Replace => (Waiting { before: true }, Action::Replace),
            Interest::Tracing => (Running, Action::Hand),
        },

        (Trying, Event::AtCall) => (Trying, Action::Look),
        (Trying, Event::Looked { fails: false }) => (Running, Action::Resume(0)),
        (Trying, Event::Looked { fails: true }) => (Waiting { before: false }, Action::Find),

        (Waiting { .. } | Mapping { .. }, Event::Found(room)) => {
            let before = state == Waiting { before: true };
            match room {
                Room::Ready => (Inside, Action::Enter),
                // Its own call ends, skipped; ours begins, and ends.
                Room::Without(what) => (Mapping { what, more: if before { 3 } else { 2 } }, Action::Map(what)),
                Room::Busy => (Waiting { before }, Action::Leave),
                Room::Impossible => (Running, Action::GiveUp),
            }
        }
        (Mapping { what, more: 0 | 1 }, Event::AtCall) => (state, Action::Mapped(what)),
        (Mapping { what, more }, Event::AtCall) => (Mapping { what, more: more - 1 }, Action::ResumeToCall(0)),

        // A call that nobody has asked for comes to nothing.
        (_, Event::Passing | Event::AtCall) => (state, resume(0)),
        (_, Event::Looked { .. } | Event::Found(_) | Event::Stopping) => (state, Action::Leave),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERESTS: [Interest; 7] = [
        Interest::None,
        Interest::Foreign,
        Interest::Question,
        Interest::End,
        Interest::Try,
        Interest::Replace,
        Interest::Tracing,
    ];
    const CODE: State = State::Mapping { what: Memory::Code, more: 2 };
    const STACKS: State = State::Mapping { what: Memory::Stacks, more: 1 };
    const BEFORE: State = State::Waiting { before: true };
    const BEHIND: State = State::Waiting { before: false };
    const STATES: [State; 7] = [State::Running, State::Trying, BEFORE, BEHIND, CODE, STACKS, State::Inside];

    /// Goes through all these events; the actions on the way, and the last state.
    fn walk(events: &[Event]) -> (Vec<Action>, State) {
        let mut state = State::Running;
        let actions = events.iter().map(|event| {
            let (next, action) = step(state, *event);
            state = next;
            action
        });
        (actions.collect(), state)
    }

    #[test]
    fn s1_a_call_that_works_is_the_programs_own() {
        let (actions, state) = walk(&[Event::Called(Interest::Try), Event::AtCall, Event::Looked { fails: false }]);
        assert_eq!(actions, [Action::Try, Action::Look, Action::Resume(0)]);
        assert_eq!(state, State::Running);
    }

    #[test]
    fn s2_a_call_that_fails_is_made_inside() {
        let first = [
            Event::Called(Interest::Try),
            Event::AtCall,
            Event::Looked { fails: true },
            Event::Found(Room::Without(Memory::Stacks)),
            Event::AtCall,
            Event::AtCall,
            Event::Found(Room::Without(Memory::Code)),
            Event::AtCall,
            Event::AtCall,
            Event::Found(Room::Ready),
            Event::Called(Interest::None),
            Event::Called(Interest::Question),
        ];
        let (actions, state) = walk(&first);
        let expected = [
            Action::Try,
            Action::Look,
            Action::Find,
            Action::Map(Memory::Stacks),
            Action::ResumeToCall(0),
            Action::Mapped(Memory::Stacks),
            Action::Map(Memory::Code),
            Action::ResumeToCall(0),
            Action::Mapped(Memory::Code),
            Action::Enter,
            Action::Resume(0),
            Action::Serve,
        ];
        assert_eq!(actions, expected);
        assert_eq!(state, State::Inside);
        let (actions, state) = walk(&[&first[..], &[Event::Called(Interest::End)]].concat());
        assert_eq!((actions.last(), state), (Some(&Action::Finish), State::Running));
    }

    #[test]
    fn s2_a_call_that_is_replaced_waits_for_its_turn() {
        let replaced = Event::Called(Interest::Replace);
        assert_eq!(walk(&[replaced, Event::Found(Room::Busy)]), (vec![Action::Replace, Action::Leave], BEFORE));
        let mapped =
            walk(&[replaced, Event::Found(Room::Without(Memory::Code)), Event::AtCall, Event::AtCall, Event::AtCall]);
        assert_eq!(
            mapped.0[1..],
            [Action::Map(Memory::Code), Action::ResumeToCall(0), Action::ResumeToCall(0), Action::Mapped(Memory::Code)]
        );
        let given_up = walk(&[replaced, Event::Found(Room::Impossible)]);
        assert_eq!(given_up, (vec![Action::Replace, Action::GiveUp], State::Running));
    }

    #[test]
    fn s3_signals_and_stops_change_nothing_in_any_state() {
        for state in STATES {
            let to_call = matches!(state, State::Trying | State::Mapping { .. });
            let resumed = |signal| if to_call { Action::ResumeToCall(signal) } else { Action::Resume(signal) };
            for signal in 1..=64 {
                assert_eq!(step(state, Event::Signal(signal)), (state, resumed(signal)));
            }
            assert_eq!(step(state, Event::GroupStop), (state, Action::Listen));
            assert_eq!(step(state, Event::Passing), (state, resumed(0)));
            assert_eq!(step(state, Event::Executed), (State::Running, Action::Forget));
        }
    }

    #[test]
    fn s3_who_waits_for_another_thread_does_not_keep_its_process_from_being_stopped() {
        for state in STATES {
            let expected = match state {
                State::Waiting { .. } => (State::Running, Action::Again),
                _ => (state, Action::Leave),
            };
            assert_eq!(step(state, Event::Stopping), expected);
        }
    }

    #[test]
    fn s3_no_thread_is_left_behind_unless_it_waits_for_another() {
        let rooms = [Room::Ready, Room::Without(Memory::Code), Room::Busy, Room::Impossible].map(Event::Found);
        let others = [Event::AtCall, Event::Passing, Event::Executed, Event::GroupStop, Event::Signal(10)];
        let called = INTERESTS.map(Event::Called);
        let looked = [true, false].map(|fails| Event::Looked { fails });
        for state in STATES {
            // What was asked for by an action comes in no other state.
            let answers = match state {
                State::Trying => &looked[..],
                State::Waiting { .. } | State::Mapping { .. } => &rooms[..],
                _ => &[],
            };
            for event in others.iter().chain(&called).chain(answers) {
                let (next, action) = step(state, *event);
                if action == Action::Leave {
                    assert_eq!(*event, Event::Found(Room::Busy), "{state:?}");
                    assert!(matches!(next, State::Waiting { .. }), "{state:?}");
                }
            }
        }
    }
}
