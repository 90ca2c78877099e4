CREATE TABLE comments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL DEFAULT tenant(),
    post_id bigint NOT NULL,
    author text NOT NULL,
    text text NOT NULL,
    -- The server checks a foreign key without the policies. With the tenant in it, nobody can comment on a post of another blog, or
    -- find out that there is one.
    CONSTRAINT comments_have_a_post FOREIGN KEY (tenant, post_id) REFERENCES posts (tenant, id)
);
CREATE INDEX comments_of_a_post ON comments (tenant, post_id, id);
ALTER TABLE comments ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON comments USING (tenant = tenant());
GRANT SELECT, INSERT (post_id, author, text) ON comments TO blog;
