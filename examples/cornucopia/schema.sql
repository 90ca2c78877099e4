CREATE TABLE books (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    author text NOT NULL,
    year int NOT NULL
);
INSERT INTO books (title, author, year) VALUES ('Notes', 'ada', 1843), ('COBOL', 'grace', 1959), ('Letters', 'ada', 1852);
