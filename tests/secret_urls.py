"""Many forms of URL with a secret in each."""

SECRET = "s3cr3t0Zw8Kq"

_FORMS = """
https://me:{s}@{host}/{path}
https://{s}@{host}/{path}
https://{s}:@{host}/{path}
https://:{s}@{host}/{path}
https://{s}:x-oauth-basic@{host}/{path}
https://oauth2:{s}@{host}/{path}
https://first.last:{s}@{host}/{path}
HTTPS://me:{s}@{host}/{path}
https://me:12{s}@{host}/{path}
https://me:12/{s}@{host}/{path}
https://first.last:12/{s}@{host}/{path}
https://me:{s}/x@{host}/{path}
https://me:a b{s}@{host}/{path}
https://me:p@{s}@{host}/{path}
https://me:p@ss/{s}@{host}/{path}
https://me:a?b{s}@{host}/{path}
https://me:a#b{s}@{host}/{path}
https://me:a%2F{s}%40@{host}/{path}
https://{s}/and+more=@{host}/{path}
https://{host}/{path}?sig={s}
https://{host}/{path}?X-Amz-Credential=a%2Fb&X-Amz-Signature={s}
https://{host}/{path}?sv=1;sig={s}%3D
https://{host}/{path}?{s}
https://{host}/{path}#access_token={s}
https://{host}/{path};jsessionid={s}
https://me:{s}@{host}/{path}?sig={s}#{s}
http://me:{s}@{host}/{path}
simplecache::https://me:{s}@{host}/{path}
ftp://me:{s}@{host}/{path}
sftp://me:1/{s}@{host}/{path}
s3://key:{s}@bucket/{path}
abfss://container@account.dfs.core.windows.net/{path}?sig={s}
postgresql://me:{s}@{host}/{path}
postgresql+psycopg2://me:12/{s}@{host}:5432/{path}
postgresql:///{path}?host={host}&password={s}
mysql+pymysql://me:{s}@{host}:3306/{path}
"""


def secret_urls(host: str = "127.0.0.1:9", path: str = "x.csv", secret: str = SECRET) -> list[str]:
    """URLs of a file, each with the secret."""
    return [form.format(s=secret, host=host, path=path) for form in _FORMS.split("\n") if form]
