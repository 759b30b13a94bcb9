from fastapi import FastAPI
from shop.api.views import router

app = FastAPI()
app.include_router(router, prefix="/shop")
