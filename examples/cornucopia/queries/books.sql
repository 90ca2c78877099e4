--: Book()

--! books_of : Book
SELECT id, title, year FROM books WHERE author = :author ORDER BY year;

--! add_book : Book
INSERT INTO books (title, author, year) VALUES (:title, :author, :year) RETURNING id, title, year;
