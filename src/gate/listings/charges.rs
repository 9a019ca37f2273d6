//! The charged overage blocks of one team or of all teams, a page at a time.

use super::{Listings, TEAMS_PER_PAGE};
use crate::{
    domain::{charge::Charge, id::Id, listing::ChargesQuery},
    gate::{
        calls::{Page, Paged},
        error::GateError,
    },
};

/// Where a list of charges continues. A page token is one of these as text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ChargesPosition {
    team: Id,
    /// Start of the cycle, in Unix milliseconds; `None` before the team's first cycle.
    cycle_start_ms: Option<i64>,
    /// The store's cursor before the entry that contains the last listed charge.
    cursor: String,
    /// Number of the last listed block of that cycle.
    block: u32,
}

impl Listings {
    /// Returns a page of the charges of one team, or of all teams, in the cycle that contains a time, in Unix
    /// milliseconds, or in all cycles.
    pub(crate) async fn charges(
        &self,
        team: Option<&Id>,
        at_ms: Option<i64>,
        page: &Page,
    ) -> Result<Paged<Charge>, GateError> {
        let mut position = match page.token.as_str() {
            "" => None,
            token => Some(self.charges_position(token, team)?),
        };
        let mut items = Vec::new();
        let size = usize::try_from(page.size).unwrap_or(usize::MAX);
        if let Some(team) = team {
            self.store.read_terms(team).await?;
            let start = position.unwrap_or_else(|| ChargesPosition::before(team.clone()));
            let next = self.charges_of_team(start, at_ms, size, &mut items).await?;
            return Ok(Paged { items, next: next.map(|position| position.token()) });
        }
        if let Some(started) = position.clone().filter(|position| position.cycle_start_ms.is_some())
            && let Some(next) = self.charges_of_team(started, at_ms, size, &mut items).await?
        {
            return Ok(Paged { items, next: Some(next.token()) });
        }
        let after = position.take().map_or(String::new(), |position| position.team.to_string());
        let (teams, more) = self.store.team_ids(&after, TEAMS_PER_PAGE).await?;
        for team in &teams {
            let start = ChargesPosition::before(team.clone());
            if let Some(next) = self.charges_of_team(start, at_ms, size, &mut items).await? {
                return Ok(Paged { items, next: Some(next.token()) });
            }
        }
        let next = teams.last().filter(|_| more.is_some()).map(|team| ChargesPosition::before(team.clone()).token());
        Ok(Paged { items, next })
    }

    /// Parses a page token of this list.
    fn charges_position(&self, token: &str, team: Option<&Id>) -> Result<ChargesPosition, GateError> {
        let position = ChargesPosition::parse(token, team)?;
        if position.cursor.is_empty() || self.store.is_cursor(&position.cursor) {
            Ok(position)
        } else {
            Err(GateError::foreign_page_token())
        }
    }

    /// Adds charges of one team until the page is full. Returns where to continue, if there may be more.
    async fn charges_of_team(
        &self,
        from: ChargesPosition,
        at_ms: Option<i64>,
        size: usize,
        items: &mut Vec<Charge>,
    ) -> Result<Option<ChargesPosition>, GateError> {
        let starts_ms = self.cycles_to_list(&from, at_ms).await?;
        let limit = u32::try_from(size.saturating_add(1)).unwrap_or(u32::MAX);
        let mut query = ChargesQuery::new(&from.team, &starts_ms, &from.cursor, limit);
        let reply = self.store.transact(query.transaction.take()).await?;
        let team = from.team.clone();
        let mut position = from;
        for (start_ms, entries) in starts_ms.into_iter().zip(query.entries(&reply)?) {
            if position.cycle_start_ms != Some(start_ms) {
                position =
                    ChargesPosition { cycle_start_ms: Some(start_ms), cursor: String::new(), block: 0, ..position };
            }
            for (cursor, entry) in entries {
                let listed = position.block;
                for charge in entry.charges(&team, start_ms).filter(|charge| charge.block > listed) {
                    if items.len() >= size {
                        return Ok(Some(position));
                    }
                    position.block = charge.block;
                    items.push(charge);
                }
                position.cursor = cursor;
            }
        }
        Ok(None)
    }

    async fn cycles_to_list(&self, from: &ChargesPosition, at_ms: Option<i64>) -> Result<Vec<i64>, GateError> {
        let mut starts_ms = match at_ms {
            Some(at_ms) => {
                let account = self.store.recorded_account(&from.team, at_ms).await?;
                account.map(|account| account.cycle.start_ms).into_iter().collect()
            }
            None => self.store.cycle_starts_ms(&from.team).await?,
        };
        starts_ms.retain(|start_ms| from.cycle_start_ms.is_none_or(|first| *start_ms >= first));
        // The cursor belongs to the position's own cycle, which may have been deleted since.
        if from.cycle_start_ms.is_some() && starts_ms.first() != from.cycle_start_ms.as_ref() {
            return Err(GateError::invalid("page_token", "is of a cycle that is no longer kept"));
        }
        Ok(starts_ms)
    }
}

impl ChargesPosition {
    fn before(team: Id) -> Self {
        Self { team, cycle_start_ms: None, cursor: String::new(), block: 0 }
    }

    fn token(&self) -> String {
        let cycle = self.cycle_start_ms.map_or(String::new(), |start_ms| start_ms.to_string());
        format!("{}|{cycle}|{}|{}", self.team, self.block, self.cursor)
    }

    fn parse(token: &str, team: Option<&Id>) -> Result<Self, GateError> {
        let mut fields = token.splitn(4, '|');
        let mut position = || {
            let id = Id::parse(fields.next()?).ok()?;
            let cycle_start_ms = match fields.next()? {
                "" => None,
                start_ms => Some(start_ms.parse().ok()?),
            };
            let block = fields.next()?.parse().ok()?;
            Some(Self { team: id, cycle_start_ms, block, cursor: fields.next()?.to_owned() })
        };
        let before_all = |position: &Self| position.block == 0 && position.cursor.is_empty();
        position()
            .filter(|position| team.is_none_or(|team| *team == position.team))
            .filter(|position| position.cycle_start_ms.is_some() || before_all(position))
            .filter(|position| position.token() == token)
            .ok_or_else(GateError::foreign_page_token)
    }
}
