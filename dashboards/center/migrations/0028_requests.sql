-- What a unit asked of the center, or declared, and what became of it. kind: 'pause' of the reminders of an alert (alert, for_ms),
-- 'closure' (from_at, to_at). state: 'asked' until answered 'granted' or 'refused'; a closure is 'declared' and needs no answer.
CREATE TABLE requests (
    id BIGINT PRIMARY KEY, institution TEXT NOT NULL, gateway TEXT NOT NULL, kind TEXT NOT NULL,
    alert BIGINT, for_ms BIGINT, from_at BIGINT, to_at BIGINT, reason TEXT NOT NULL,
    asked_by TEXT NOT NULL, asked_at BIGINT NOT NULL, state TEXT NOT NULL,
    answered_by TEXT, answered_at BIGINT, answer TEXT, order_epoch BIGINT, order_seq BIGINT
);
CREATE INDEX requests_state ON requests (state, id);
CREATE INDEX requests_alert ON requests (alert);
