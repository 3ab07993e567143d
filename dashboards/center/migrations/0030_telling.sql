-- How an alert is told: 'alert' as it comes, 'duty' as a line of the day's digest, 'lead' on Monday's list, 'morning' as an item at half past eight.
ALTER TABLE alerts ADD COLUMN told TEXT NOT NULL DEFAULT 'alert';
CREATE INDEX alerts_told ON alerts (told, state, raised);

-- Township or street (乡镇、街道); NULL = not entered.
ALTER TABLE institutions ADD COLUMN township TEXT;

-- When each duty was last done, or since when it counts, as the gateway's records say it; engine time. Derived.
CREATE TABLE duties (
    gateway TEXT NOT NULL, device TEXT NOT NULL, duty TEXT NOT NULL, done_at BIGINT, since BIGINT, known_at BIGINT NOT NULL,
    PRIMARY KEY (gateway, device, duty)
);

-- The day's duties of a site as they were told at half past eight; `body`: its lines, as JSON. Without lines: looked at, nothing to tell.
CREATE TABLE digests (
    id BIGINT PRIMARY KEY, institution TEXT NOT NULL, site TEXT NOT NULL, day TEXT NOT NULL, at BIGINT NOT NULL, body TEXT NOT NULL,
    UNIQUE (institution, site, day)
);
CREATE INDEX digests_at ON digests (at);

-- Leads (线索) of a week, which begins at `week`, civil time. state: 'listed', 'unjudged' (its feed was not complete enough), 'dismissed', 'case'.
-- `body`: what was found, as JSON. alert NULL: no ratio was out of line, and nobody can tell whether it would have been.
CREATE TABLE leads (
    id BIGINT PRIMARY KEY, week BIGINT NOT NULL, institution TEXT NOT NULL, gateway TEXT NOT NULL, rule TEXT NOT NULL, device TEXT NOT NULL,
    alert BIGINT, feed INTEGER, state TEXT NOT NULL, body TEXT NOT NULL,
    answered_by TEXT, answered_at BIGINT, reason TEXT, case_id BIGINT,
    UNIQUE (week, gateway, rule, device)
);
