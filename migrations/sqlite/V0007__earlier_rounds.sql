-- What an earlier round left in the bucket; and imported tasks asked about in the order in which their links die.

ALTER TABLE assets ADD COLUMN object_left TEXT  -- the `object_…` columns tell of an earlier round's object; NULL = of this round's, or of none
  CHECK (object_left IN (
    'kept',    -- it lies under its `.unverified` key
    'gone'));  -- it was archived, and is not in the bucket any more

-- Imported tasks that nobody has been asked about yet, by the time when their links die.
CREATE INDEX tasks_to_learn ON tasks (submitted_at + ttl_ms)
  WHERE origin = 'imported' AND status = 'submitted' AND queries = 0 AND query_at IS NOT NULL;

PRAGMA user_version = 7;
