//! Defects that can be switched on in builds for tests, one at a time, so that the campaign can prove that it sees them
//! (`tests/campaign/`). The shipped program has no switch: `train::resolved::Resolved::broken` is a constant there.

/// One defect. The name says what is left out; the campaign's table says which invariant must find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Mutant {
    WaveBeforeBake,
    BakeNotWaited,
    VerdictNotNeeded,
    NoDataCounts,
    StaleVerdictCounts,
    ProofNotNeeded,
    EpochNotTested,
    HoldNotTested,
    UndoNotTestedByHold,
    EffectBeforeIntent,
    UndoInAnyOrder,
    FlagsNotTakenBack,
    StepNotTested,
    RestoreOverOthers,
    RolledBackTooEarly,
    OutsideNotSeen,
    FightNotAlarmed,
    UndoAsksForLease,
    HoldAsksForLease,
    NeverGivesUp,
    ClaimsEarly,
    NeverDemotes,
    WritesWithoutVersion,
    EpochStays,
    DownWithoutOrder,
    AbandonedForEver,
    OrderWithoutEpoch,
    FailElsewhereIgnored,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::WaveBeforeBake,
        Self::BakeNotWaited,
        Self::VerdictNotNeeded,
        Self::NoDataCounts,
        Self::StaleVerdictCounts,
        Self::ProofNotNeeded,
        Self::EpochNotTested,
        Self::HoldNotTested,
        Self::UndoNotTestedByHold,
        Self::EffectBeforeIntent,
        Self::UndoInAnyOrder,
        Self::FlagsNotTakenBack,
        Self::StepNotTested,
        Self::RestoreOverOthers,
        Self::RolledBackTooEarly,
        Self::OutsideNotSeen,
        Self::FightNotAlarmed,
        Self::UndoAsksForLease,
        Self::HoldAsksForLease,
        Self::NeverGivesUp,
        Self::ClaimsEarly,
        Self::NeverDemotes,
        Self::WritesWithoutVersion,
        Self::EpochStays,
        Self::DownWithoutOrder,
        Self::AbandonedForEver,
        Self::OrderWithoutEpoch,
        Self::FailElsewhereIgnored,
    ];
}
