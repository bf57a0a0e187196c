-- Deadlines: when an asset that is not archived yet is told as at risk; submissions that the clock alone must settle,
-- found without reading those that may still be sent; timelines that do not grow with every equal try.

ALTER TABLE assets ADD COLUMN at_risk_at INTEGER  -- when `asset.at_risk` is due; NULL = told in this round, or terminal
  CHECK (at_risk_at IS NULL OR status IN ('pending', 'archiving'));

-- What waits already is told after half of its time, the default of `archive.at_risk_after`.
UPDATE assets SET at_risk_at = discovered_at + max(archive_by - discovered_at, 0) / 2 WHERE copy_at IS NOT NULL;

CREATE INDEX assets_at_risk ON assets (at_risk_at) WHERE at_risk_at IS NOT NULL;
CREATE INDEX tasks_in_doubt ON tasks (first_attempt_at) WHERE submit_at IS NOT NULL AND first_attempt_at IS NOT NULL;
CREATE INDEX tasks_unsent_until ON tasks (deadline) WHERE submit_at IS NOT NULL AND deadline IS NOT NULL;

ALTER TABLE timeline ADD COLUMN times INTEGER NOT NULL DEFAULT 1;  -- how often this line happened
ALTER TABLE timeline ADD COLUMN last_at INTEGER;                   -- when it last did; NULL = it happened once

PRAGMA user_version = 5;  -- the number of this migration
