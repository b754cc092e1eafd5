import chardet


def call() -> object:
    """Detect the encoding of a Japanese and of a UTF-8 text."""
    texts = ("日本語の文章をここに書きます。東京は今日も晴れです。".encode("shift_jis"), "Grüße aus Köln".encode())
    return [chardet.detect(text)["encoding"] for text in texts]
