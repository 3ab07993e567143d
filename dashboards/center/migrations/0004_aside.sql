-- Records whose numbers another record of the same gateway has: a disk that was copied or set back. Their bytes lie in
-- `aside/`, apart from the chain; nothing is derived from them.
CREATE TABLE aside (
    gateway TEXT NOT NULL, epoch BIGINT NOT NULL, seq BIGINT NOT NULL, hash BYTEA NOT NULL,
    segment BIGINT NOT NULL, start BIGINT NOT NULL, length BIGINT NOT NULL, received_at BIGINT NOT NULL,
    PRIMARY KEY (gateway, epoch, seq, hash)
);
CREATE INDEX aside_segment ON aside (segment, start);

-- Bytes of this month on a metered line and what may go over it, as the gateway counts them; NULL = not metered.
ALTER TABLE gateways ADD COLUMN line_used BIGINT;
ALTER TABLE gateways ADD COLUMN line_budget BIGINT;
