-- Keys that followed a gateway's first one, and why. `before_…`: the last record of the key before that counts; it moves on when
-- the disk of a box that was replaced is delivered. `took_…`: the record from which the next box says it goes on.
CREATE TABLE gateway_keys (
    gateway TEXT NOT NULL REFERENCES gateways (id), n BIGINT NOT NULL, public_key BYTEA NOT NULL, from_epoch BIGINT NOT NULL,
    before_epoch BIGINT, before_seq BIGINT, took_epoch BIGINT, took_seq BIGINT, cause TEXT NOT NULL, at BIGINT NOT NULL, statement BYTEA NOT NULL,
    PRIMARY KEY (gateway, n)
);
CREATE UNIQUE INDEX gateway_keys_key ON gateway_keys (public_key);

-- Records that tell of instruments: placed, replaced, calibrated, removed. Derived.
CREATE TABLE device_records (gateway TEXT NOT NULL, epoch BIGINT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (gateway, epoch, seq));

-- Erased by a logged act: id and hash stay.
ALTER TABLE attachments ADD COLUMN erased_at BIGINT;
ALTER TABLE attachments ADD COLUMN erased_reason TEXT;
