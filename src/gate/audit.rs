//! The audit logs: the catalogue's, and each team's, a page at a time.

use super::{
    Gate, GateError,
    calls::{Page, Paged},
};
use crate::domain::{audit::AuditedChange, id::Id, listing::AuditQuery};

/// How many teams one page looks at: a page may come back short, with a token to go on from.
const TEAMS_PER_PAGE: u32 = 100;

/// What stands in a token for the catalogue's log; no team's id can.
const CATALOGUE: &str = "!";

/// Where a list of changes goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AuditPosition {
    /// Whose log; `None` is the catalogue's.
    team: Option<Id>,
    /// After which entry of it.
    after: LogPosition,
}

/// A place in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LogPosition {
    /// After the entry of this cursor; an empty one is before the first.
    Cursor(String),
    /// After the last one: what comes next is the first entry of another log.
    Last,
}

impl Gate {
    /// The changes of one team, or of the catalogue and then of every team, oldest first within each log.
    ///
    /// # Errors
    /// [`GateError::TeamNotFound`] for a team that was named, an invalid page token, and the store's.
    pub async fn audit(&self, team: Option<&Id>, page: &Page) -> Result<Paged<AuditedChange>, GateError> {
        let mut from = match page.token.as_str() {
            "" => AuditPosition { team: team.cloned(), after: LogPosition::Cursor(String::new()) },
            token => self.audit_position(token, team)?,
        };
        let mut items = Vec::new();
        let size = usize::try_from(page.size).unwrap_or(usize::MAX);
        if let Some(team) = team {
            self.read_terms(team).await?;
        }
        if let LogPosition::Cursor(cursor) = &from.after
            && let Some(next) = self.changes_of(from.team.as_ref(), cursor, size, &mut items).await?
        {
            return Ok(Paged { items, next: Some(next.token()) });
        }
        if team.is_some() {
            return Ok(Paged { items, next: None });
        }
        let after = from.team.take().map_or(String::new(), |team| team.to_string());
        let (teams, more) = self.team_ids(&after, TEAMS_PER_PAGE).await?;
        for team in &teams {
            if let Some(next) = self.changes_of(Some(team), "", size, &mut items).await? {
                return Ok(Paged { items, next: Some(next.token()) });
            }
        }
        let next = teams.last().filter(|_| more.is_some());
        Ok(Paged {
            items,
            next: next.map(|team| AuditPosition { team: Some(team.clone()), after: LogPosition::Last }.token()),
        })
    }

    /// Adds changes of one log until the page is full; the result is where to go on, if there is more of it.
    async fn changes_of(
        &self,
        team: Option<&Id>,
        cursor: &str,
        size: usize,
        items: &mut Vec<AuditedChange>,
    ) -> Result<Option<AuditPosition>, GateError> {
        // One more than fits tells whether the log goes on.
        let room = size - items.len();
        let limit = u32::try_from(room.saturating_add(1)).unwrap_or(u32::MAX);
        let mut query = AuditQuery::new(team, cursor, limit);
        let reply = self.transact(query.transaction.take()).await?;
        let mut last = cursor.to_owned();
        for (place, (cursor, entry)) in query.entries(&reply)?.into_iter().enumerate() {
            if place >= room {
                return Ok(Some(AuditPosition { team: team.cloned(), after: LogPosition::Cursor(last) }));
            }
            last = cursor;
            items.push(AuditedChange { team: team.cloned(), entry });
        }
        Ok(None)
    }

    /// Reads a token that a page of this list came with.
    fn audit_position(&self, token: &str, team: Option<&Id>) -> Result<AuditPosition, GateError> {
        let position = AuditPosition::parse(token).filter(|position| match &position.after {
            LogPosition::Cursor(cursor) => cursor.is_empty() || self.store.is_cursor(cursor),
            LogPosition::Last => true,
        });
        position
            .filter(|position| team.is_none_or(|team| position.team.as_ref() == Some(team)))
            .ok_or_else(GateError::foreign_page_token)
    }
}

impl AuditPosition {
    fn token(&self) -> String {
        let log = self.team.as_ref().map_or(CATALOGUE, Id::as_str);
        match &self.after {
            LogPosition::Cursor(cursor) => format!("{log}|{cursor}"),
            LogPosition::Last => log.to_owned(),
        }
    }

    fn parse(token: &str) -> Option<Self> {
        let (log, after) = match token.split_once('|') {
            Some((log, cursor)) => (log, LogPosition::Cursor(cursor.to_owned())),
            None => (token, LogPosition::Last),
        };
        let team = if log == CATALOGUE { None } else { Some(Id::parse(log).ok()?) };
        Some(Self { team, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_position() {
        let team = || Some(Id::parse("a-team").unwrap());
        for team in [None, team()] {
            for after in [LogPosition::Last, LogPosition::Cursor(String::new()), LogPosition::Cursor("17-2".to_owned())]
            {
                let position = AuditPosition { team: team.clone(), after };
                assert_eq!(AuditPosition::parse(&position.token()), Some(position));
            }
        }
        assert_eq!(AuditPosition::parse("no team|1"), None);
    }
}
