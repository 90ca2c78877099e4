ALTER TABLE users ADD COLUMN visits bigint NOT NULL DEFAULT 0;
INSERT INTO users (name) VALUES ('ada');
