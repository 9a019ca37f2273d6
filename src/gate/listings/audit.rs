//! The audit logs of the catalogue and of the teams, a page at a time.

use super::{Listings, TEAMS_PER_PAGE};
use crate::{
    domain::{audit::AuditedChange, id::Id, listing::AuditQuery},
    gate::{
        calls::{Page, Paged},
        error::GateError,
    },
};

/// Stands for the catalogue's log in a page token. No team can have this id.
const CATALOGUE: &str = "!";

/// Where a list of changes continues. A page token is one of these as text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AuditPosition {
    /// The team whose log it is; `None` stands for the catalogue's log.
    team: Option<Id>,
    /// The last listed entry.
    after: LogPosition,
}

/// A position in one log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LogPosition {
    /// After the entry at this cursor of the store. An empty cursor is before the first entry.
    Cursor(String),
    /// After the last entry. The next entry is the first one of the next team's log.
    Last,
}

impl Listings {
    /// Returns a page of the changes of one team, or of the catalogue and then of every team. The oldest change of each
    /// log comes first.
    pub(crate) async fn audit(&self, team: Option<&Id>, page: &Page) -> Result<Paged<AuditedChange>, GateError> {
        let mut from = match page.token.as_str() {
            "" => AuditPosition { team: team.cloned(), after: LogPosition::Cursor(String::new()) },
            token => self.audit_position(token, team)?,
        };
        let mut items = Vec::new();
        let size = usize::try_from(page.size).unwrap_or(usize::MAX);
        if let Some(team) = team {
            self.store.read_terms(team).await?;
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
        let (teams, more) = self.store.team_ids(&after, TEAMS_PER_PAGE).await?;
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

    /// Adds changes of one log until the page is full. Returns where to continue, if the log has more.
    async fn changes_of(
        &self,
        team: Option<&Id>,
        cursor: &str,
        size: usize,
        items: &mut Vec<AuditedChange>,
    ) -> Result<Option<AuditPosition>, GateError> {
        // One entry more than fits shows whether the log has more.
        let room = size - items.len();
        let limit = u32::try_from(room.saturating_add(1)).unwrap_or(u32::MAX);
        let mut query = AuditQuery::new(team, cursor, limit);
        let reply = self.store.transact(query.transaction.take()).await?;
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

    /// Parses a page token of this list.
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
